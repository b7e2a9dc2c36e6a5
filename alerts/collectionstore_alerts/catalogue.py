"""All groups, and the file that Prometheus loads."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import yaml

from collectionstore_alerts import auditing, availability, backups, capacity, objectives, operators
from collectionstore_alerts.rules import RUNBOOKS, Group

FILE: Final = Path(__file__).parents[1] / "rules.yaml"
GROUPS: Final[tuple[Group, ...]] = (
    *availability.GROUPS,
    *objectives.GROUPS,
    *capacity.GROUPS,
    *operators.GROUPS,
    *backups.GROUPS,
    *auditing.GROUPS,
)
_COMMENT: Final = "# Made by `make generate`. A PrometheusRule has the same under `spec`.\n"


def content(*, runbooks: str = RUNBOOKS, hold: str | None = None) -> dict[str, Any]:
    """Return what a rule file holds.

    `runbooks` is the base of `runbook_url`; `hold`, such as `0s`, takes the place of every `for`, for trials only.
    """
    return {
        "groups": [
            {"name": group.name, "rules": [rule.rule(runbooks=runbooks, hold=hold) for rule in group.rules]}
            for group in GROUPS
        ]
    }


def text(*, runbooks: str = RUNBOOKS, hold: str | None = None) -> str:
    """Return the rule file."""
    return _COMMENT + yaml.safe_dump(content(runbooks=runbooks, hold=hold), sort_keys=False, width=10_000)
