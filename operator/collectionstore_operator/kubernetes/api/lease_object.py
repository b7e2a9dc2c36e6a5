"""A Lease as an object: its epoch, its body, and how long it has not changed. Shared by the two kinds of Lease.

`lease.Lease` elects one process of an installation; `tenure.Tenure` lets one installation act on a cluster.
Timestamps written by others are never compared with our clock: a holder counts as alive while its Lease changes.
Source: client-go, leaderelection.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from collectionstore_operator.kubernetes.api.kinds import Body, Kind
from collectionstore_operator.resource import labels

EPOCH: Final = f"{labels.GROUP}/epoch"
"""Annotation: the epoch of the holder, a decimal number."""


@dataclass(frozen=True, slots=True)
class _Seen:
    """A version of a Lease, and when it was first observed, in seconds of the monotonic clock."""

    resource_version: str
    since: float


class Watched:
    """How long a Lease has not changed, on this process's own monotonic clock."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._seen = _Seen("", 0.0)

    def is_stale(self, found: Body, usual_s: float) -> bool:
        """Return whether it has not changed for its whole duration; `usual_s` where it names none."""
        version, now = found["metadata"]["resourceVersion"], self._clock()
        if version != self._seen.resource_version:
            self._seen = _Seen(version, now)
        return now - self._seen.since >= float(found["spec"].get("leaseDurationSeconds") or usual_s)


def epoch_of(found: Body) -> int:
    """Return the epoch of a Lease; 0 without a readable one."""
    text = (found["metadata"].get("annotations") or {}).get(EPOCH, "")
    return int(text) if text.isascii() and text.isdigit() else 0


def holder_of(found: Body) -> str:
    """Return the holder of a Lease; empty while it is free."""
    return str(found["spec"].get("holderIdentity") or "")


def transitions_of(found: Body) -> int:
    """Return how often a Lease changed its holder."""
    return int(found["spec"].get("leaseTransitions") or 0)


def body(*, name: str, namespace: str, holder: str, epoch: int, transitions: int, duration_s: int, now: float) -> Body:
    """Return a Lease that `holder` takes at `now`, in Unix seconds."""
    taken = moment(now)
    return {
        "apiVersion": Kind.LEASE.api_version,
        "kind": "Lease",
        "metadata": {"name": name, "namespace": namespace, "annotations": {EPOCH: str(epoch)}},
        "spec": {
            "holderIdentity": holder,
            "leaseDurationSeconds": duration_s,
            "acquireTime": taken,
            "renewTime": taken,
            "leaseTransitions": transitions,
        },
    }


def moment(now: float) -> str:
    """Return a time as Leases store it: RFC 3339 with microseconds."""
    return datetime.fromtimestamp(now, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
