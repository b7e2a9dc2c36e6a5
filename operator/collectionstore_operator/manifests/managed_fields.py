"""Who set which field of an object, from the managed fields that the API server keeps. Pure.

Source: Kubernetes docs, "Server-Side Apply", field management; sigs.k8s.io/structured-merge-diff, fieldpath (`f:` a
field, `k:` an item of a list by its keys, `v:` a value of a set).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from collectionstore_operator.resource import labels


class Claim(NamedTuple):
    """What one manager has set at one place of an object; an empty `fields` is a leaf, which it has set as a whole."""

    manager: str
    fields: Mapping[str, Any]


def others(live: Mapping[str, Any]) -> tuple[Claim, ...]:
    """Return what was set by everybody but us, except in the status.

    What is ours includes what admission and defaults added to an object while we wrote it.
    """
    entries = live.get("metadata", {}).get("managedFields") or ()
    return tuple(
        Claim(str(entry.get("manager") or "unknown"), entry.get("fieldsV1") or {})
        for entry in entries
        if entry.get("subresource") != "status" and entry.get("manager") != labels.FIELD_MANAGER
    )


def is_ours(live: Mapping[str, Any], path: Sequence[str | int]) -> bool:
    """Return whether an apply of ours has set what is at a path, so that the next one removes it if it lacks it.

    Not for an item of a list whose name occurs twice: which of the two an apply would remove is not said.
    """
    entries = live.get("metadata", {}).get("managedFields") or ()
    claims = tuple(
        Claim(labels.FIELD_MANAGER, one.get("fieldsV1") or {})
        for one in entries
        if one.get("manager") == labels.FIELD_MANAGER
        and one.get("operation") == "Apply"
        and not one.get("subresource")
        and one.get("fieldsV1")
    )
    place: Any = live
    for part in path:
        below = place[part]
        if isinstance(part, int):
            if sum(_name(one) == _name(below) for one in place) > 1:
                return False
            claims = of_item(claims, below)
        else:
            claims = of_field(claims, part)
        place = below
    return bool(claims)


def _name(item: Any) -> Any:
    return item.get("name") if isinstance(item, Mapping) else item


def as_applied(live: Mapping[str, Any]) -> list[dict[str, Any]] | None:
    """Return the managed fields with what we set at the creation as set by an apply; None if they are so already.

    An object is created by a POST, and what that sets belongs to the operation Update: an apply, even of the same
    manager, would never remove it. As in client-go, csaupgrade.
    """
    entries = live.get("metadata", {}).get("managedFields") or ()
    own = [one for one in entries if one.get("manager") == labels.FIELD_MANAGER and not one.get("subresource")]
    if all(one.get("operation") != "Update" for one in own):
        return None
    fields: dict[str, Any] = {}
    for one in own:
        _unite(fields, one.get("fieldsV1") or {})
    applied = {**own[0], "operation": "Apply", "fieldsV1": fields}
    return [applied, *(one for one in entries if one not in own)]


def _unite(fields: dict[str, Any], more: Mapping[str, Any]) -> None:
    for key, below in more.items():
        _unite(fields.setdefault(key, {}), below)


def of_field(claims: tuple[Claim, ...], name: str) -> tuple[Claim, ...]:
    """Return what they set in a field, or as a part of a map that they set as a whole."""
    return tuple(_below(claims, f"f:{name}"))


def of_item(claims: tuple[Claim, ...], item: Any) -> tuple[Claim, ...]:
    """Return what they set in an item of a list."""
    found = []
    for claim in claims:
        if not claim.fields:
            found.append(claim)
        found += [Claim(claim.manager, fields) for key, fields in claim.fields.items() if _is_of(key, item)]
    return tuple(found)


def managers(claims: tuple[Claim, ...]) -> str:
    """Return their names for people, sorted; empty for none."""
    return ", ".join(sorted({claim.manager for claim in claims}))


def _below(claims: tuple[Claim, ...], key: str) -> Iterator[Claim]:
    for claim in claims:
        if not claim.fields:
            yield claim
        elif key in claim.fields:
            yield Claim(claim.manager, claim.fields[key])


def _is_of(key: str, item: Any) -> bool:
    kind, _, text = key.partition(":")
    if kind == "k" and isinstance(item, Mapping):
        return all(item.get(name) == value for name, value in json.loads(text).items())
    return kind == "v" and json.loads(text) == item
