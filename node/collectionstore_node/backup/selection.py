"""Which member is read, and which backup is restored. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

import msgspec

from collectionstore_node.backup.errors import NotFound, Refused, Unreachable
from collectionstore_node.backup.manifest import Manifest

LATEST: Final = "latest"
_REVISION: Final = re.compile(r"revision:([0-9]{1,18})")


class Target(NamedTuple):
    """Where a replay ends; both None for the end of the archive."""

    revision: int | None = None
    time_ms: int | None = None


class Member(msgspec.Struct, frozen=True):
    """A member as the leader sees it: part of `/api/v1/cluster`."""

    node_id: str
    name: str
    http_address: str
    role: str
    lag: int | None = None
    active: bool | None = None
    snapshot: bool = False


class Leader(msgspec.Struct, frozen=True):
    """The leader: part of the same."""

    node_id: str
    http_address: str


class Cluster(msgspec.Struct, frozen=True):
    """What is read of `/api/v1/cluster`."""

    cluster_id: str
    leader: Leader | None
    members: list[Member]


def order_members(cluster: Cluster) -> list[Member]:
    """Return the members to ask, the best first: followers that are caught up, the leader only if there is no other.

    Raises `Unreachable` if none can be read. A member that lags is no danger, as each confirms with the leader that it
    has what was acknowledged, but one that is close answers sooner.
    """
    leader = cluster.leader.node_id if cluster.leader is not None else ""
    followers = [
        one
        for one in cluster.members
        if one.node_id != leader and one.role == "Voter" and one.active is not False and not one.snapshot
    ]
    followers.sort(key=lambda one: (one.lag if one.lag is not None else 0, one.name))
    last = [one for one in cluster.members if one.node_id == leader]
    if not followers and not last:
        raise Unreachable(f"no member of {cluster.cluster_id} can be read: it has no leader and no active follower")
    return followers + last


def of_one_cluster(manifests: Iterable[Manifest], cluster_id: str | None) -> list[Manifest]:
    """Return the backups of `cluster_id`; all of them, without it, if they are of one cluster.

    Raises `Refused` if they are of several: the newest one of them all is of any. Raises `NotFound` for a cluster that
    has none.
    """
    known = list(manifests)
    clusters = sorted({one.cluster_id for one in known})
    if cluster_id is None:
        if len(clusters) > 1:
            raise Refused(
                f"the repository holds backups of several clusters: {_listed(clusters)}. Name one with "
                "--source-cluster, or the backup by its ID"
            )
        return known
    found = [one for one in known if one.cluster_id == cluster_id]
    if not found:
        others = f"; there are of {_listed(clusters)}" if clusters else ""
        raise NotFound(f"the repository holds no complete backup of the cluster {cluster_id!r}{others}")
    return found


def choose_backup(manifests: Iterable[Manifest], wanted: str) -> Manifest:
    """Return the backup `wanted`: its ID, `latest`, or `revision:N` for the newest one that is not of a later revision.

    Raises `NotFound`, which lists what there is.
    """
    if found := _REVISION.fullmatch(wanted):
        return choose_for_revision(manifests, int(found[1]))
    known = sorted(manifests, key=lambda one: one.id)
    if not known:
        raise NotFound("the repository holds no complete backup")
    if wanted == LATEST:
        return known[-1]
    for one in known:
        if one.id == wanted:
            return one
    raise NotFound(f"there is no backup {wanted!r}; there are {_listed([one.id for one in known])}")


def choose_for_time(manifests: Iterable[Manifest], finished: str) -> Manifest:
    """Return the newest backup that was finished at `finished` or before, in RFC 3339 and UTC. Raises `NotFound`."""
    known = sorted(manifests, key=lambda one: one.id)
    fitting = [one for one in known if one.finished_at <= finished]
    if not fitting:
        first = f"; the first one was finished at {known[0].finished_at}" if known else ""
        raise NotFound(f"no backup is of {finished} or earlier{first}")
    return fitting[-1]


def choose_for_revision(manifests: Iterable[Manifest], revision: int) -> Manifest:
    """Return the newest backup that is not behind `revision`. Raises `NotFound`."""
    known = sorted(manifests, key=lambda one: (one.revision, one.id))
    fitting = [one for one in known if one.revision <= revision]
    if not fitting:
        first = f"; the first one has revision {known[0].revision}" if known else ""
        raise NotFound(f"no backup has revision {revision} or an earlier one{first}")
    return fitting[-1]


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(names[-10:])
    return shown if len(names) <= 10 else f"{shown} and {len(names) - 10} more"
