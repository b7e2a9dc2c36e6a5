"""The verbs that change a running cluster: restart, replace, transfer-leader, fence, hibernate and their opposites.

Each writes one field or annotation of the resource, which the operator carries out; then it waits and shows the steps.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Final

import click

from collectionstore.cli.asking import confirm
from collectionstore.cli.commands import Command
from collectionstore.cli.exit_codes import CommandError
from collectionstore.kubernetes import names
from collectionstore.operate import goals
from collectionstore.operate.access import ChangedMeanwhile, ClusterAccess, Object, member_name, member_names
from collectionstore.operate.goals import Goal, status_of
from collectionstore.operate.options import Place, place_options, wait_options, yes_option
from collectionstore.operate.waiting import wait_for

FENCE_WRITES_MAX: Final = 5
"""How often a fence is written until no change comes between reading and writing: the operator writes the status."""

cluster_argument = click.argument("cluster")


class GuardRefused(CommandError):
    """The change would cost the quorum, and was not requested; the text says why, and what to do instead."""


@click.command("restart", cls=Command, short_help="Restart all members, one by one.")
@cluster_argument
@wait_options(600)
@place_options
def restart(cluster: str, timeout_s: float, place: Place, *, wait: bool) -> None:
    """Restart all members one by one, the leader last, after it has transferred leadership.

    \b
    Example:
      kubectl collectionstore restart demo
    """
    with place.open(cluster) as access:
        before = access.read()
        annotate(access, names.RESTART, stamp())
        click.echo(f"{access.name}: restart requested")
        _wait(access, before, goals.restarted(before), what="the restart", wait=wait, timeout_s=timeout_s)


@click.command("rotate-authority", cls=Command, short_help="Replace the key of the certificate authority.")
@cluster_argument
@wait_options(600)
@place_options
def rotate_authority(cluster: str, timeout_s: float, place: Place, *, wait: bool) -> None:
    """Replace the key of the certificate authority while the cluster serves. Clients need the new ca.crt.

    \b
    Example:
      kubectl collectionstore rotate-authority demo
    """
    with place.open(cluster) as access:
        before = access.read()
        annotate(access, names.ROTATE_AUTHORITY, stamp())
        click.echo(f"{access.name}: a new key of the authority requested")
        _wait(access, before, goals.rotated(before), what="the new key", wait=wait, timeout_s=timeout_s)


@click.command("replace", cls=Command, short_help="Replace a member by one with an empty volume.")
@cluster_argument
@click.argument("member")
@click.option("--in-place", is_flag=True, help="Retire the volume at once, without an extra member.")
@yes_option
@wait_options(600)
@place_options
def replace(
    cluster: str, member: str, timeout_s: float, place: Place, *, wait: bool, yes: bool, in_place: bool
) -> None:
    """Replace a member by a new one with an empty volume.

    A member that works is copied to an extra member first, which votes in its place meanwhile: as many members fail
    without harm as before. MEMBER is a name (demo-1) or an ordinal (1). What becomes of the old volume is in
    spec.storage.retention.

    \b
    Example:
      kubectl collectionstore replace demo demo-1
    """
    with place.open(cluster) as access:
        before = access.read()
        name = member_name(before, member)
        retention = (before.get("spec", {}).get("storage") or {}).get("retention", "Retain")
        fate = "is deleted" if retention == "Delete" else "is kept"
        confirm(f"Replace {name} by a new member? Its volume {fate}.", yes=yes)
        access.replace(name, in_place=in_place)
        click.echo(f"{access.name}: replacement of {name} requested")
        goal = goals.replaced(before, name)
        _wait(access, before, goal, what=f"the replacement of {name}", wait=wait, timeout_s=timeout_s)


@click.command("transfer-leader", cls=Command, short_help="Transfer leadership to another member.")
@cluster_argument
@click.argument("member", required=False)
@wait_options(60)
@place_options
def transfer_leader(cluster: str, member: str | None, timeout_s: float, place: Place, *, wait: bool) -> None:
    """Transfer leadership to a member; without MEMBER to the voter that is furthest ahead.

    MEMBER is a name (demo-1) or an ordinal (1).

    \b
    Examples:
      kubectl collectionstore transfer-leader demo 1
      kubectl collectionstore transfer-leader demo
    """
    with place.open(cluster) as access:
        before = access.read()
        name = member_name(before, member) if member else ""
        if name and status_of(before).get("leader") == name:
            click.echo(f"{name} leads already, nothing to do.")
            return
        # The time makes the value new: the same transfer can be asked for again.
        annotate(access, names.TRANSFER_LEADER, f"{name or 'any'} {stamp()}")
        click.echo(f"{access.name}: transfer of leadership to {name or 'another voter'} requested")
        goal = goals.leads(before, name)
        _wait(access, before, goal, what=f"{name or 'another voter'} to lead", wait=wait, timeout_s=timeout_s)


@click.command("fence", cls=Command, short_help="Keep members from working, as they are.")
@cluster_argument
@click.argument("member", nargs=-1, required=True)
@yes_option
@wait_options(180)
@place_options
def fence(cluster: str, member: tuple[str, ...], timeout_s: float, place: Place, *, wait: bool, yes: bool) -> None:
    """Keep members from working, with their pods and volumes as they are, to examine them. The reverse: unfence.

    Refused if too few voters would remain for a quorum. MEMBER is a name (demo-1) or an ordinal (1).

    \b
    Example:
      kubectl collectionstore fence demo 2
    """
    with place.open(cluster) as access:
        before = access.read()
        chosen = member_names(before, member)

        def everyone(resource: Mapping[str, Any]) -> tuple[str, ...]:
            found = tuple(dict.fromkeys((*fenced_members(resource), *chosen)))
            guard_quorum(resource, found)
            return found

        everyone(before)
        confirm(f"Fence {', '.join(chosen)}? They serve nothing until unfence.", yes=yes)
        write_fence(access, before, everyone)
        click.echo(f"{access.name}: fence of {', '.join(chosen)} requested")
        _wait(access, before, goals.fenced(chosen), what="the fence", wait=wait, timeout_s=timeout_s)


@click.command("unfence", cls=Command, short_help="Let fenced members work again.")
@cluster_argument
@click.argument("member", nargs=-1)
@wait_options(180)
@place_options
def unfence(cluster: str, member: tuple[str, ...], timeout_s: float, place: Place, *, wait: bool) -> None:
    """Let fenced members work again, all of them without MEMBER.

    \b
    Examples:
      kubectl collectionstore unfence demo 2
      kubectl collectionstore unfence demo
    """
    with place.open(cluster) as access:
        before = access.read()
        fenced = fenced_members(before)
        chosen = member_names(before, member) or fenced

        def left(resource: Mapping[str, Any]) -> tuple[str, ...]:
            return tuple(one for one in fenced_members(resource) if one not in chosen)

        if len(left(before)) == len(fenced):
            click.echo(f"{', '.join(chosen) or 'No member of ' + access.name} is not fenced, nothing to do.")
            return
        write_fence(access, before, left)
        click.echo(f"{access.name}: end of the fence of {', '.join(chosen)} requested")
        _wait(access, before, goals.working(chosen), what="the members to work", wait=wait, timeout_s=timeout_s)


@click.command("hibernate", cls=Command, short_help="Stop all members and keep the data.")
@cluster_argument
@yes_option
@wait_options(300)
@place_options
def hibernate(cluster: str, timeout_s: float, place: Place, *, wait: bool, yes: bool) -> None:
    """Stop all members of a cluster, the leader last, and keep its volumes. The reverse: wake.

    \b
    Example:
      kubectl collectionstore hibernate demo
    """
    with place.open(cluster) as access:
        before = access.read()
        confirm(f"Hibernate {access.name} in {access.place}? It serves nothing until wake.", yes=yes)
        access.change({"spec": {"hibernate": True}})
        click.echo(f"{access.name}: hibernation requested")
        _wait(access, before, goals.asleep, what="all members to stop", wait=wait, timeout_s=timeout_s)


@click.command("wake", cls=Command, short_help="Start a hibernated cluster.")
@cluster_argument
@wait_options(300)
@place_options
def wake(cluster: str, timeout_s: float, place: Place, *, wait: bool) -> None:
    """Start a hibernated cluster on its volumes.

    \b
    Example:
      kubectl collectionstore wake demo
    """
    with place.open(cluster) as access:
        before = access.read()
        access.change({"spec": {"hibernate": None}})
        click.echo(f"{access.name}: wake-up requested")
        _wait(access, before, goals.ready, what=f"{access.name} to be Ready", wait=wait, timeout_s=timeout_s)


@click.command("approve-update", cls=Command, short_help="Let a supervised update begin.")
@cluster_argument
@yes_option
@wait_options(600)
@place_options
def approve_update(cluster: str, timeout_s: float, place: Place, *, wait: bool, yes: bool) -> None:
    """Let a supervised update begin: members restart one by one, the leader last.

    \b
    Example:
      kubectl collectionstore approve-update demo
    """
    with place.open(cluster) as access:
        before = access.read()
        revision = str(status_of(before).get("revision") or "")
        if not revision:
            raise GuardRefused(f"{access.name} has no revision in its status yet: there is nothing to approve")
        confirm(f"Restart the members of {access.name} for revision {revision}?", yes=yes)
        # The revision: an approval must not count for a later change that was not looked at.
        annotate(access, names.APPROVE_UPDATE, revision)
        click.echo(f"{access.name}: update to revision {revision} approved")
        _wait(access, before, goals.ready, what="the update", wait=wait, timeout_s=timeout_s)


def annotate(access: ClusterAccess, annotation: str, value: str | None, *, version: str | None = None) -> None:
    """Set an annotation, or remove it with None; with `version` only of that resourceVersion (ChangedMeanwhile)."""
    metadata: Object = {"annotations": {annotation: value}}
    access.change({"metadata": metadata if version is None else {**metadata, "resourceVersion": version}})


def write_fence(
    access: ClusterAccess, resource: Mapping[str, Any], fenced: Callable[[Mapping[str, Any]], tuple[str, ...]]
) -> None:
    """Write the members that `fenced` makes of the resource, anew from a newer one if it was changed meanwhile.

    Two fences at once are both kept. Raises what `fenced` does, and ChangedMeanwhile if changes do not end.
    """
    for left in reversed(range(FENCE_WRITES_MAX)):
        value = ",".join(fenced(resource)) or None
        try:
            annotate(access, names.FENCE, value, version=resource["metadata"].get("resourceVersion"))
            return
        except ChangedMeanwhile:
            if not left:
                raise
            resource = access.read()


def stamp() -> str:
    """Return a value that is new every second."""
    return datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def fenced_members(resource: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the members that the resource names as fenced."""
    value = (resource["metadata"].get("annotations") or {}).get(names.FENCE) or ""
    return tuple(one.strip() for one in value.split(",") if one.strip())


def guard_quorum(resource: Mapping[str, Any], fenced: tuple[str, ...]) -> None:
    """Raise GuardRefused unless a majority of every voter set remains without these members and those not ready."""
    configuration = status_of(resource).get("configuration") or {}
    for voters in (configuration.get("voters") or (), configuration.get("outgoing") or ()):
        left = [one for one in voters if one not in fenced and goals.member(resource, one).get("ready")]
        if voters and len(left) <= len(voters) // 2:
            raise GuardRefused(
                f"refused: of the voters {', '.join(voters)} only {', '.join(left) or 'none'} would work, "
                f"and a quorum needs {len(voters) // 2 + 1}. Nothing was changed."
            )


def _wait(
    access: ClusterAccess, before: Mapping[str, Any], goal: Goal, *, what: str, wait: bool, timeout_s: float
) -> None:
    if wait:
        click.echo(wait_for(access, before, goal, what=what, timeout_s=timeout_s))
