"""Where a live object differs from its manifest: by content, whatever annotations say. Pure.

Ours, and restored:
- every field that the manifest sets, with its value; quantities are compared by value;
- lists and maps that the manifest sets, as a whole: environment variables, ports, selectors, requests, labels and
  annotations of the pod template. An item that somebody adds is removed;
- every field below `spec` that another field manager has set, also one that the manifest does not mention.

Not ours, and left alone: the defaults of the API server, which no manager owns; labels, annotations, owners and
finalizers that others add to an object's own metadata; fields outside `spec`, as `imagePullSecrets` of a
ServiceAccount; the status.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, TypeAlias

import msgspec

from collectionstore_operator.manifests import managed_fields
from collectionstore_operator.manifests.managed_fields import Claim
from collectionstore_operator.manifests.manifest import Body
from collectionstore_operator.resource.fields import exact

Path: TypeAlias = tuple[str | int, ...]
"""Keys of maps and positions in the LIVE object's lists."""

WHOLE: Final = frozenset({"selector", "matchLabels", "nodeSelector", "requests", "limits"})
"""Maps without defaults: a key that the manifest does not have was added by somebody."""
POD_METADATA: Final = (("spec", "template", "metadata", "labels"), ("spec", "template", "metadata", "annotations"))
QUANTITIES: Final = frozenset({"requests", "limits"})
SHOWN_MAX: Final = 3
"""Fields that a message names; the others are counted."""


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    """One difference. `value` is the JSON of the live value, empty for a missing field."""

    path: Path
    shown: str
    """The path for people: `spec.template.spec.containers[node].env[DEBUG]`."""
    value: str
    extra: bool = False
    """The manifest does not have it: it must be removed, since an apply leaves fields of others alone."""
    by: str = ""
    """The field managers that set it; empty if the API server does not say."""


def differences(
    manifest: Body, live: Mapping[str, Any], *, admitted: Mapping[str, str] | None = None, ignored: Sequence[str] = ()
) -> tuple[Difference, ...]:
    """Return every difference, in the order of the manifest.

    `admitted` are those that admission makes of our own apply; `ignored` are names of fields below `spec` that the
    caller judges itself, or that cannot be changed.
    """
    known, skipped = admitted or {}, {f"spec.{name}" for name in ignored}
    return tuple(
        one
        for one in _top(manifest, live)
        if known.get(one.shown) != one.value and not any(_within(one.shown, name) for name in skipped)
    )


def without_additions(live: Mapping[str, Any], found: Sequence[Difference]) -> Body | None:
    """Return the live object without the additions of others, None when there are none.

    What our own next apply removes stays until then: it goes together with what refers to it, as a volume with the init
    container that mounts it, and without it the object would be invalid in between.
    """
    extras = [one.path for one in found if one.extra and not (not one.by and managed_fields.is_ours(live, one.path))]
    if not extras:
        return None
    body: Body = copy.deepcopy(dict(live))
    # Backwards, or the position of a later item would change.
    for path in sorted(extras, key=lambda one: [(isinstance(part, str), str(part).zfill(6)) for part in one])[::-1]:
        place: Any = body
        for part in path[:-1]:
            place = place[part]
        del place[path[-1]]
    return body


def described(found: Sequence[Difference]) -> str:
    """Return a clause for people: which fields differ, and who changed them."""
    named = [f"{one.shown} {_what(one)}" for one in found[:SHOWN_MAX]]
    more = [f"{len(found) - SHOWN_MAX} more"] if len(found) > SHOWN_MAX else []
    return "; ".join([*named, *more])


def _what(one: Difference) -> str:
    done = "was added" if one.extra else "was changed" if one.value else "is missing"
    return f"{done} by {one.by}" if one.by else done


def _within(shown: str, name: str) -> bool:
    return shown == name or shown.startswith((f"{name}.", f"{name}["))


def _top(manifest: Body, live: Mapping[str, Any]) -> Iterator[Difference]:
    claims = managed_fields.others(live)
    for key, ours in manifest.items():
        if key == "metadata":
            yield from _metadata(ours, live.get(key) or {}, managed_fields.of_field(claims, key))
        elif key not in ("apiVersion", "kind"):
            yield from _entry(ours, live, key, (), (), claims)


def _metadata(ours: Body, live: Mapping[str, Any], claims: tuple[Claim, ...]) -> Iterator[Difference]:
    for part in ("labels", "annotations"):
        path, below = ("metadata", part), managed_fields.of_field(claims, part)
        for key, value in ours.get(part, {}).items():
            yield from _entry(value, live.get(part) or {}, key, path, path, below)
    owners = {one.get("uid"): one for one in live.get("ownerReferences") or ()}
    for owner in ours.get("ownerReferences", ()):
        if owners.get(owner["uid"]) != owner:
            path = ("metadata", "ownerReferences")
            yield _changed(path, path, owners.get(owner["uid"]), managed_fields.of_field(claims, path[-1]))


def _entry(
    ours: Any, live: Mapping[str, Any], key: str, path: Path, named: Path, claims: tuple[Claim, ...]
) -> Iterator[Difference]:
    """Compare a field of a map; the API server does not store what is empty."""
    below = managed_fields.of_field(claims, key)
    if key in live:
        yield from _value(ours, live[key], (*path, key), (*named, key), below)
    elif ours not in ({}, [], "", None):
        yield _changed((*path, key), (*named, key), None, below)


def _value(ours: Any, live: Any, path: Path, named: Path, claims: tuple[Claim, ...]) -> Iterator[Difference]:
    """Compare a value; `named` is its path with names instead of positions."""
    if isinstance(ours, Mapping) and isinstance(live, Mapping):
        yield from _map(ours, live, path, named, claims)
    elif isinstance(ours, list) and isinstance(live, list):
        yield from _list(ours, live, path, named, claims)
    elif not _same(ours, live, named):
        yield _changed(path, named, live, claims)


def _map(
    ours: Mapping[str, Any], live: Mapping[str, Any], path: Path, named: Path, claims: tuple[Claim, ...]
) -> Iterator[Difference]:
    for key, value in ours.items():
        yield from _entry(value, live, key, path, named, claims)
    whole = named[-1] in WHOLE or named in POD_METADATA
    for key in sorted(live.keys() - ours.keys()):
        setters = managed_fields.of_field(claims, key)
        if whole or (setters and named[0] == "spec"):
            yield _added((*path, key), (*named, key), live[key], setters)


def _list(ours: list[Any], live: list[Any], path: Path, named: Path, claims: tuple[Claim, ...]) -> Iterator[Difference]:
    by_name = all(isinstance(one, Mapping) and "name" in one for one in (*ours, *live))
    if not by_name:
        if len(ours) != len(live):
            yield _changed(path, named, live, claims)
            return
        for position, (expected, found) in enumerate(zip(ours, live, strict=True)):
            below = managed_fields.of_item(claims, found)
            yield from _value(expected, found, (*path, position), (*named, position), below)
        return
    positions = {one["name"]: position for position, one in enumerate(live)}
    for one in ours:
        name = one["name"]
        if name not in positions:
            yield _changed((*path, name), (*named, f"[{name}]"), None, ())
            continue
        found = live[positions[name]]
        below = managed_fields.of_item(claims, found)
        yield from _value(one, found, (*path, positions[name]), (*named, f"[{name}]"), below)
    expected_names = {one["name"] for one in ours}
    for position, one in enumerate(live):
        # Also the second item of a name that is ours: the last one would win.
        if one["name"] not in expected_names or positions[one["name"]] != position:
            setters = managed_fields.of_item(claims, one)
            yield _added((*path, position), (*named, f"[{one['name']}]"), one, setters)


def _same(ours: Any, live: Any, named: Path) -> bool:
    if ours == live and isinstance(ours, bool) == isinstance(live, bool):
        return True
    if len(named) < 2 or named[-2] not in QUANTITIES:
        return False
    try:
        return exact(str(ours)) == exact(str(live))
    except ValueError:
        return False


def _changed(path: Path, named: Path, live: Any, claims: tuple[Claim, ...]) -> Difference:
    value = "" if live is None else json.dumps(live, sort_keys=True)
    return Difference(path=path, shown=_shown(named), value=value, by=managed_fields.managers(claims))


def _added(path: Path, named: Path, live: Any, claims: tuple[Claim, ...]) -> Difference:
    return msgspec.structs.replace(_changed(path, named, live, claims), extra=True)


def _shown(path: Path) -> str:
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        elif part.startswith("["):
            text += part
        else:
            text += f".{part}" if text else part
    return text
