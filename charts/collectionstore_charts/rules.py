"""The rules of the operator's roles, made from the list of permissions that it checks at its start."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, TypeAlias

import yaml

from collectionstore_operator.kubernetes.api.permissions import NODES, OWN, PERMISSIONS, Permission

Rule: TypeAlias = dict[str, list[str]]
"""One rule of a Role: JSON."""

COMMENT = "# Made by `python charts/generate.py` from the operator's own list of permissions.\n"


def rule(permission: Permission) -> Rule:
    """Return the rule that grants exactly this permission."""
    made = {"apiGroups": [permission.group], "resources": [permission.resource], "verbs": list(permission.verbs)}
    return {**made, "resourceNames": [permission.name]} if permission.name else made


def everywhere() -> list[Rule]:
    """Return what is needed on objects that have no namespace."""
    return [rule(one) for one in PERMISSIONS if one.everywhere]


def namespaced() -> list[Rule]:
    """Return what is needed in every namespace that is watched."""
    return [rule(one) for one in PERMISSIONS if not one.everywhere]


def own() -> list[Rule]:
    """Return what is needed in the operator's own namespace."""
    return [rule(one) for one in OWN]


def nodes() -> list[Rule]:
    """Return what the members' accounts need."""
    return [rule(one) for one in NODES]


def text(rules: Iterable[Rule]) -> str:
    """Return rules as YAML, one rule a line."""
    lines = (yaml.dump(one, Dumper=_Flow, default_flow_style=True, sort_keys=False, width=1000) for one in rules)
    return COMMENT + "".join(f"- {line}" for line in lines)


class _Flow(yaml.SafeDumper):
    def ignore_aliases(self, _data: Any) -> bool:
        return True
