"""Removes every guard, one at a time, and shows which test fails.

    python -m collectionstore_operator.tests.mutants.run [NAME...]

Each mutant is a copy of the package in a temporary folder. Fast tests come first; the first failure ends it. Ends with
1 when a guard is missed by no test.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Final

import click

from collectionstore_operator.tests.mutants.guards import PACKAGE, Guard, read_guards, without

ROOT: Final = PACKAGE.parents[1]
STAGES: Final = (
    ("planning/test_read_replicas.py", "planning/test_together.py"),
    (
        "planning/test_plan.py",
        "planning/test_plan_guards.py",
        "planning/test_recovery.py",
        "planning/test_restore.py",
        "planning/test_snapshot_restore.py",
        "planning/test_in_place_restore.py",
        "planning/test_plan_stuck_pods.py",
        "planning/test_unexplained_members.py",
        "model/test_assessment.py",
        "planning/test_volume_expansion.py",
        "planning/test_volume_growth.py",
        "planning/test_certificates.py",
        "planning/test_authority_age.py",
        "planning/test_authority_rotation.py",
        "planning/test_authority_separation.py",
        "planning/test_identity.py",
        "planning/test_upkeep.py",
        "planning/test_safeguards.py",
        "planning/test_switchover.py",
        "planning/test_hibernation.py",
        "planning/test_member_fencing.py",
        "planning/test_replacement.py",
        "planning/test_supervised_updates.py",
        "planning/test_final_backup.py",
        "planning/test_released_volumes.py",
        "model/test_identity.py",
        "manifests/test_manifests.py",
    ),
    ("planning/test_plan_properties.py",),
    (
        "reconcile/test_loop.py",
        "reconcile/test_node_client.py",
        "kubernetes/test_steps.py",
        "kubernetes/test_released_claims.py",
        "kubernetes/test_reading.py",
        "kubernetes/test_runtime.py",
        "kubernetes/test_pod_diagnostics.py",
        "kubernetes/test_ownership.py",
        "kubernetes/test_records.py",
        "kubernetes/test_recovery.py",
        "kubernetes/test_authority_rotation.py",
        "kubernetes/test_tenure.py",
        "kubernetes/test_two_operators.py",
    ),
    ("simulation/test_simulation.py",),
    ("kubernetes/test_faults.py",),
)
"""Which tests look for it, the fast ones first."""


def first_miss(guard: Guard | None) -> str:
    """Return the first test that fails without a guard; empty when none does."""
    with tempfile.TemporaryDirectory(prefix="guard-") as folder:
        root = Path(folder)
        copy = root / "operator" / PACKAGE.name
        shutil.copytree(PACKAGE, copy, ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copy(ROOT / "pyproject.toml", root)
        if guard is not None:
            (copy / guard.file).write_text(without(guard, (copy / guard.file).read_text()))
        for stage in STAGES:
            found = _failure(root, [str(copy / "tests" / name) for name in stage])
            if found:
                return found
    return ""


def _failure(root: Path, tests: list[str]) -> str:
    environment = {**os.environ, "PYTHONPATH": str(root / "operator"), "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", "--no-header", *tests]
    done = subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, check=False)
    if done.returncode == 0:
        return ""
    lines = [line for line in done.stdout.splitlines() if line.startswith(("FAILED", "ERROR"))]
    return lines[0].partition("::")[2].partition(" - ")[0] if lines else done.stdout[-400:]


@click.command()
@click.argument("names", nargs=-1)
def main(names: tuple[str, ...]) -> None:
    """Take guards away, all of them or those that are named."""
    chosen = [guard for guard in read_guards() if not names or guard.name in names]
    if not names and (broken := first_miss(None)):
        raise click.ClickException(f"the tests fail with every guard in its place: {broken}")
    unseen = 0
    for guard in chosen:
        started = time.monotonic()
        found = first_miss(guard)
        unseen += not found
        click.echo(
            f"{guard.name:24} {guard.title:64} {found or 'MISSED BY NO TEST'} {time.monotonic() - started:.0f} s"
        )
    click.echo(f"{len(chosen) - unseen} of {len(chosen)} are missed by a test")
    sys.exit(1 if unseen else 0)


if __name__ == "__main__":
    main()
