"""What must hold before a release is built: one version everywhere, told in the changelog, from a clean checkout."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import yaml

from collectionstore_testkit.commands import run

_VERSION: Final = re.compile(r"\d+\.\d+\.\d+(-[0-9A-Za-z.-]+)?")
"""As SemVer 2.0.0, without build metadata, which image tags do not allow."""
CHARTS: Final = ("collectionstore-cluster", "collectionstore-operator")


def problems(root: Path) -> list[str]:
    """Return why the checkout at `root` cannot be released; empty if it can."""
    version = (root / "VERSION").read_text().strip()
    if not _VERSION.fullmatch(version):
        return [f"VERSION holds {version!r}; allowed: a version such as 1.2.3 or 1.2.3-rc.1"]
    return [*_changelog(root, version), *_charts(root, version), *_changed_files(root)]


def _changelog(root: Path, version: str) -> Iterator[str]:
    headings = re.findall(r"^## (.+)$", (root / "CHANGELOG.md").read_text(), re.MULTILINE)
    if not any(re.fullmatch(rf"{re.escape(version)} - \d{{4}}-\d\d-\d\d", heading) for heading in headings):
        yield f"CHANGELOG.md has no section `## {version} - YYYY-MM-DD`; it has: {', '.join(headings[:3]) or 'none'}"


def _charts(root: Path, version: str) -> Iterator[str]:
    for name in CHARTS:
        chart = yaml.safe_load((root / "charts" / name / "Chart.yaml").read_text())
        for field in ("version", "appVersion"):
            if str(chart[field]) != version:
                yield f"charts/{name}/Chart.yaml has {field} {chart[field]}, VERSION has {version}: make generate"


def _changed_files(root: Path) -> Iterator[str]:
    changed = run(["git", "status", "--porcelain"], cwd=root).splitlines()
    if changed:
        yield f"{len(changed)} files differ from the commit, such as {changed[0][3:]}: commit them first"
