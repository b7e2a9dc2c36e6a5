"""Judge reports of known vulnerabilities against an allow-list: fail on what is found and not allowed.

The reports are made by `pip-audit --format json` of the lock, and by `osv-scanner --format json` or
`trivy --format json` of an SBOM; this program reads what they wrote and asks no server itself. So it works where they
cannot run, and its judgement is the same everywhere.

Examples:
  uv export --frozen --no-emit-workspace --format requirements-txt > build/locked.txt
  uvx pip-audit --disable-pip --requirement build/locked.txt --format json --output build/pip-audit.json
  python -m collectionstore_release.scan build/pip-audit.json
"""

from __future__ import annotations

import argparse
import datetime
import json
import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import yaml

ALLOWED: Final = Path(__file__).parents[1] / "vulnerabilities.yaml"
DAYS_MAX: Final = 180
"""An exception is looked at again after so long at the latest."""
SERIOUS: Final = ("HIGH", "CRITICAL", "UNKNOWN")
"""What fails: also what nobody has judged yet."""
_ID: Final = re.compile(r"[A-Z][A-Z0-9]*(-[A-Za-z0-9]+)+")


class Invalid(Exception):
    """A report or the allow-list cannot be read; the text says which and where."""


class Finding(NamedTuple):
    """A known vulnerability of a package."""

    package: str
    version: str
    ids: tuple[str, ...]
    """All of its names, such as CVE and GHSA."""
    severity: str = "UNKNOWN"
    fixed: str = ""

    def __str__(self) -> str:
        fix = f", fixed in {self.fixed}" if self.fixed else ""
        return f"{self.package} {self.version}: {', '.join(self.ids)} ({self.severity}{fix})"


class Exemption(NamedTuple):
    """A vulnerability that is known and let pass, until a day."""

    id: str
    package: str
    reason: str
    until: datetime.date


def read_report(text: str) -> list[Finding]:
    """Return what a report of pip-audit, osv-scanner or trivy has found. Raises Invalid."""
    try:
        found = json.loads(text)
        if "dependencies" in found:
            return list(_pip_audit(found))
        if "Results" in found or "ArtifactName" in found:
            return list(_trivy(found))
        if "results" in found:
            return list(_osv(found))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise Invalid(f"the report cannot be read: {type(error).__name__}: {error}") from None
    raise Invalid("the report is none of pip-audit, osv-scanner and trivy")


def read_allowed(text: str, today: datetime.date) -> list[Exemption]:
    """Return the allow-list. Raises Invalid for an entry without a reason, or for longer than DAYS_MAX."""
    try:
        entries = (yaml.safe_load(text) or {}).get("allowed") or []
    except (yaml.YAMLError, AttributeError) as error:
        raise Invalid(f"the allow-list cannot be read: {error}") from None
    made = []
    for number, one in enumerate(entries):
        where = f"allowed[{number}]"
        if not isinstance(one, dict) or set(one) != {"id", "package", "reason", "until"}:
            raise Invalid(f"{where} has id, package, reason and until")
        if not isinstance(one["id"], str) or not _ID.fullmatch(one["id"]):
            raise Invalid(f"{where}.id is a name such as CVE-2026-1234")
        if not isinstance(one["reason"], str) or len(one["reason"].split()) < 3:
            raise Invalid(f"{where}.reason says in a sentence why it does not concern us")
        if not isinstance(one["until"], datetime.date) or one["until"] > today + datetime.timedelta(days=DAYS_MAX):
            raise Invalid(f"{where}.until is a day within {DAYS_MAX} days")
        made.append(Exemption(one["id"], str(one["package"]), one["reason"], one["until"]))
    return made


def judged(
    findings: Sequence[Finding], allowed: Sequence[Exemption], today: datetime.date
) -> tuple[list[Finding], list[Exemption]]:
    """Return the serious findings that nothing allows, and the exemptions that nothing needs or that have ended."""
    valid = {(one.id, one.package) for one in allowed if one.until >= today}
    serious = [one for one in findings if one.severity in SERIOUS]
    left = [one for one in serious if not any((name, one.package) in valid for name in one.ids)]
    used = {(name, one.package) for one in findings for name in one.ids}
    return left, [one for one in allowed if one.until < today or (one.id, one.package) not in used]


def _pip_audit(found: dict[str, Any]) -> Iterator[Finding]:
    for package in found["dependencies"]:
        if "skip_reason" in package:
            # Not looked at: that is no clean bill.
            yield Finding(package["name"], package.get("version", ""), ("SKIPPED-BY-PIP-AUDIT",))
        for one in package.get("vulns", ()):
            ids = tuple(dict.fromkeys([one["id"], *one.get("aliases", ())]))
            yield Finding(
                package["name"], package.get("version", ""), ids, fixed=", ".join(one.get("fix_versions", ()))
            )


def _osv(found: dict[str, Any]) -> Iterator[Finding]:
    for result in found["results"]:
        for package in result.get("packages", ()):
            severities = {
                name: group.get("max_severity", "") for group in package.get("groups", ()) for name in group["ids"]
            }
            for one in package.get("vulnerabilities", ()):
                ids = tuple(dict.fromkeys([one["id"], *one.get("aliases", ())]))
                told = package["package"]
                yield Finding(told["name"], told["version"], ids, _severity(severities.get(one["id"], "")))


def _trivy(found: dict[str, Any]) -> Iterator[Finding]:
    for result in found.get("Results") or ():
        for one in result.get("Vulnerabilities") or ():
            yield Finding(
                one["PkgName"],
                one.get("InstalledVersion", ""),
                (one["VulnerabilityID"],),
                one.get("Severity", "UNKNOWN"),
                one.get("FixedVersion", ""),
            )


def _severity(score: str) -> str:
    """Return the class of a CVSS base score. Source: CVSS v3.1, 5."""
    try:
        value = float(score)
    except ValueError:
        return "UNKNOWN"
    bounds = ((9.0, "CRITICAL"), (7.0, "HIGH"), (4.0, "MEDIUM"), (0.1, "LOW"))
    return next((name for bound, name in bounds if value >= bound), "NONE")


def main(arguments: Sequence[str] | None = None) -> int:
    """Judge reports; 1 if something is found that is not allowed, 2 if a file cannot be read."""
    parser = argparse.ArgumentParser(
        prog="python -m collectionstore_release.scan",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("report", type=Path, nargs="+")
    parser.add_argument("--allow", type=Path, default=ALLOWED, help="the allow-list (default: %(default)s)")
    options = parser.parse_args(arguments)
    today = datetime.datetime.now(datetime.UTC).date()
    try:
        findings = [one for path in options.report for one in read_report(path.read_text())]
        allowed = read_allowed(options.allow.read_text(), today)
    except (Invalid, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    left, unused = judged(findings, allowed, today)
    for one in unused:
        print(f"not needed any more, or ended: {one.id} of {one.package}")
    for finding in left:
        print(finding)
    print(f"{len(findings)} known vulnerabilities, {len(left)} of them serious and not allowed")
    return 1 if left else 0


if __name__ == "__main__":
    sys.exit(main())
