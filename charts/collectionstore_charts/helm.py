"""Helm as the tests and `render` use it: the program of the end-to-end tests' cache, built there if it is missing."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import yaml

from collectionstore_testkit.tools import go_programs

CHARTS: Final = Path(__file__).resolve().parents[1]
OPERATOR: Final = CHARTS / "collectionstore-operator"
CLUSTER: Final = CHARTS / "collectionstore-cluster"
LINE_LENGTH: Final = 120


class HelmFailed(Exception):
    """Helm ended with an error; the text is what it said."""


def helm(*arguments: str | Path) -> str:
    """Run Helm and return what it printed. Raises HelmFailed."""
    # No cluster is asked, whatever the environment names.
    environment = {**os.environ, "KUBECONFIG": os.devnull}
    command = [str(go_programs.helm()), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    if done.returncode != 0:
        raise HelmFailed(done.stderr.strip() or done.stdout.strip())
    return done.stdout


def template(
    chart: Path,
    values: Mapping[str, Any] | None = None,
    *,
    release: str = "op",
    namespace: str = "system",
    files: tuple[Path, ...] = (),
) -> list[dict[str, Any]]:
    """Return the objects that an installation would make. Raises HelmFailed."""
    command: list[str | Path] = ["template", release, chart, "--namespace", namespace]
    for file in files:
        command += ["--values", file]
    for name, value in (values or {}).items():
        command += ["--set-json", f"{name}={json.dumps(value)}"]
    return [one for one in yaml.safe_load_all(helm(*command)) if one]
