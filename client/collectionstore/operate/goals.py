"""When a change is complete, and what it waits for meanwhile: from the resource as it was and as it is. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

Goal: TypeAlias = Callable[[Mapping[str, Any]], bool]
"""Whether a resource shows that the change is complete."""


def status_of(resource: Mapping[str, Any]) -> dict[str, Any]:
    """Return the status; empty for a resource that no operator has seen."""
    found: dict[str, Any] = resource.get("status") or {}
    return found


def condition(resource: Mapping[str, Any], kind: str) -> dict[str, Any]:
    """Return a condition; empty if there is none of that type."""
    conditions: list[dict[str, Any]] = status_of(resource).get("conditions") or []
    return next((one for one in conditions if one.get("type") == kind), {})


def member(resource: Mapping[str, Any], name: str) -> dict[str, Any]:
    """Return a member of the status; empty if there is none of that name."""
    members: list[dict[str, Any]] = status_of(resource).get("members") or []
    return next((one for one in members if one.get("name") == name), {})


def settled(resource: Mapping[str, Any]) -> bool:
    """Return whether the status is of this generation, and nothing of the plan is left."""
    seen = int(status_of(resource).get("observedGeneration") or 0)
    return seen >= int(resource["metadata"].get("generation") or 0) and not status_of(resource).get("plan")


def ready(resource: Mapping[str, Any]) -> bool:
    """Return whether the cluster is Ready, and settled."""
    return settled(resource) and condition(resource, "Ready").get("status") == "True"


def restarted(before: Mapping[str, Any]) -> Goal:
    """Return the goal of a restart: another revision than before, which all members run."""
    revision = status_of(before).get("revision")
    return lambda now: (
        ready(now)
        and status_of(now).get("revision") != revision
        and condition(now, "MembersUpdated").get("status") == "True"
    )


def replaced(before: Mapping[str, Any], name: str) -> Goal:
    """Return the goal of a replacement: the member has another nodeID."""
    node = member(before, name).get("nodeID")
    return lambda now: ready(now) and member(now, name).get("nodeID") not in ("", None, node)


def leads(before: Mapping[str, Any], name: str) -> Goal:
    """Return the goal of a transfer: the member leads; any other than before if `name` is empty."""
    leader = status_of(before).get("leader")
    if name:
        return lambda now: status_of(now).get("leader") == name
    return lambda now: status_of(now).get("leader") not in ("", None, leader)


def rotated(before: Mapping[str, Any]) -> Goal:
    """Return the goal of a rotation: another key signs, and is the only one that is trusted."""
    key = (status_of(before).get("authority") or {}).get("key")

    def holds(now: Mapping[str, Any]) -> bool:
        authority = status_of(now).get("authority") or {}
        return authority.get("phase") == "Steady" and authority.get("key") not in ("", None, key)

    return holds


def fenced(names: tuple[str, ...]) -> Goal:
    """Return the goal of a fence: these members work no more."""
    return lambda now: settled(now) and not any(member(now, name).get("ready") for name in names)


def working(names: tuple[str, ...]) -> Goal:
    """Return the goal of the end of a fence: these members are ready."""
    return lambda now: settled(now) and all(member(now, name).get("ready") for name in names)


def recovered(resource: Mapping[str, Any]) -> bool:
    """Return whether a recovery from a lost quorum is over, and the cluster whole again."""
    return ready(resource) and (status_of(resource).get("recovery") or {}).get("phase") == "Finished"


def restore_offered(resource: Mapping[str, Any]) -> bool:
    """Return whether the operator has answered what the spec asks to be restored in place."""
    seen = int(status_of(resource).get("observedGeneration") or 0)
    phase = (status_of(resource).get("restore") or {}).get("phase")
    return seen >= int(resource["metadata"].get("generation") or 0) and phase not in (None, "", "Finished")


def restored(nonce: str) -> Goal:
    """Return the goal of an in-place restore: the one that this nonce acknowledges is over, and the cluster whole."""

    def reached(resource: Mapping[str, Any]) -> bool:
        found = status_of(resource).get("restore") or {}
        return ready(resource) and (found.get("phase"), found.get("nonce")) == ("Finished", nonce)

    return reached


def asleep(resource: Mapping[str, Any]) -> bool:
    """Return whether a hibernated cluster has no pod any more."""
    return settled(resource) and not status_of(resource).get("replicas")


def waits_for(resource: Mapping[str, Any]) -> str:
    """Return a line with the step that is in progress, or what blocks it; else why the cluster is not Ready."""
    status = status_of(resource)
    if not status:
        return "no operator has seen the resource yet"
    for step in status.get("plan") or ():
        text = f"{step.get('step', '')} {step.get('subject', '')}".strip() + f": {step.get('reason', '')}"
        blocked = step.get("blockedBy")
        return f"{text}; blocked: {blocked}" if blocked else text
    one = condition(resource, "Ready")
    return "" if one.get("status") == "True" else str(one.get("message") or "")
