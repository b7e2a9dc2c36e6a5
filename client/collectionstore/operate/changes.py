"""What applying a manifest makes of a resource, as `kubectl apply` does; and what differs. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
USER_METADATA = ("labels", "annotations")


def applied(resource: Mapping[str, Any] | None, manifest: Mapping[str, Any]) -> dict[str, Any]:
    """Return the resource after the manifest was applied; None if there is none yet.

    What the manifest has replaces what there is; what only the manifest applied last had is removed; the rest stays.
    """
    metadata = manifest.get("metadata") or {}
    if resource is None:
        return {**manifest, "metadata": {**metadata, "generation": 1}}
    last = _last_applied(resource)
    spec = merged(resource.get("spec") or {}, last.get("spec") or {}, manifest.get("spec") or {})
    changed = dict(resource["metadata"])
    for key in USER_METADATA:
        before = (last.get("metadata") or {}).get(key) or {}
        changed[key] = merged(changed.get(key) or {}, before, metadata.get(key) or {})
    return {**resource, "metadata": changed, "spec": spec}


def merged(live: Mapping[str, Any], before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, Any]:
    """Return the three-way merge of objects; lists are replaced as a whole, as in a custom resource."""
    found = {key: value for key, value in live.items() if key in after or key not in before}
    for key, value in after.items():
        old, last = live.get(key), before.get(key)
        if isinstance(value, Mapping) and isinstance(old, Mapping):
            found[key] = merged(old, last if isinstance(last, Mapping) else {}, value)
        elif value is None:
            found.pop(key, None)
        else:
            found[key] = value
    return found


def patched(target: Any, patch: Any) -> Any:
    """Return a JSON merge patch applied to a value. Source: RFC 7396, section 2."""
    if not isinstance(patch, Mapping):
        return patch
    found = dict(target) if isinstance(target, Mapping) else {}
    for key, value in patch.items():
        if value is None:
            found.pop(key, None)
        else:
            found[key] = patched(found.get(key), value)
    return found


def differences(path: str, old: object, new: object) -> Iterator[str]:
    """Yield `spec.replicas: 3 → 5` for every leaf that differs, in the order of the fields."""
    if isinstance(old, Mapping | None) and isinstance(new, Mapping | None) and (old or new):
        before, after = old or {}, new or {}
        for key in [*before, *(one for one in after if one not in before)]:
            if before.get(key) != after.get(key):
                yield from differences(f"{path}.{key}", before.get(key), after.get(key))
    elif old != new:
        yield f"{path}: {_shown(old)} → {_shown(new)}"


def resource_differences(old: Mapping[str, Any] | None, new: Mapping[str, Any]) -> list[str]:
    """Return what differs between two states of a resource, without what a server keeps for itself."""
    found: list[str] = []
    for key in USER_METADATA:
        before, after = (_user_part(one, key) for one in (old or {}, new))
        found += differences(f"metadata.{key}", before, after)
    return [*found, *differences("spec", (old or {}).get("spec"), new.get("spec"))]


def _user_part(resource: Mapping[str, Any], key: str) -> dict[str, Any]:
    part = (resource.get("metadata") or {}).get(key) or {}
    return {name: value for name, value in part.items() if name != LAST_APPLIED}


def _last_applied(resource: Mapping[str, Any]) -> dict[str, Any]:
    text = (resource["metadata"].get("annotations") or {}).get(LAST_APPLIED)
    try:
        found = json.loads(text) if text else {}
    except ValueError:
        return {}  # written by hand: nothing is known of what was applied last
    return found if isinstance(found, dict) else {}


def _shown(value: object) -> str:
    return "(default)" if value is None else json.dumps(value) if isinstance(value, dict | list) else str(value)
