"""Alerts, recording rules and groups, and their form in a rule file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal, TypeAlias

Severity: TypeAlias = Literal["critical", "warning"]
"""critical: page the on-call engineer. warning: handle it in working hours."""

PREFIX: Final = "CollectionStore"
RUNBOOKS: Final = "docs/runbooks"
"""Where runbooks are, seen from the repository; an installation puts its own base URL there."""


@dataclass(frozen=True)
class Alert:
    """A state that requires action. Its runbook is the file with the same name."""

    name: str
    """Without the prefix that all share."""
    expr: str
    hold: str
    """For how long it must be true before it fires."""
    severity: Severity
    summary: str
    description: str
    dashboard: str
    """Name of the page to open."""
    labels: Mapping[str, str] = field(default_factory=dict)

    @property
    def full_name(self) -> str:
        """Return the name that Prometheus knows it by."""
        return PREFIX + self.name

    def rule(self, *, runbooks: str, hold: str | None) -> dict[str, Any]:
        """Return it as in a rule file. `hold` takes the place of its own, to see alerts fire in a trial."""
        return {
            "alert": self.full_name,
            "expr": self.expr,
            "for": hold or self.hold,
            "labels": {"severity": self.severity, **self.labels},
            "annotations": {
                "summary": self.summary,
                "description": self.description,
                "runbook_url": f"{runbooks.rstrip('/')}/{self.full_name}.md",
                "dashboard": f"collectionstore-{self.dashboard}",
            },
        }


@dataclass(frozen=True)
class Recording:
    """A series that Prometheus computes and keeps, named `level:what:operation`."""

    name: str
    expr: str

    def rule(self, **_options: str | None) -> dict[str, Any]:
        """Return it as in a rule file."""
        return {"record": self.name, "expr": self.expr}


@dataclass(frozen=True)
class Group:
    """Rules that are evaluated one after the other."""

    name: str
    rules: tuple[Alert | Recording, ...]


def alerts(groups: tuple[Group, ...]) -> list[Alert]:
    """Return the alerts of groups, in order."""
    return [rule for group in groups for rule in group.rules if isinstance(rule, Alert)]
