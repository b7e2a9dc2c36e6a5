"""What an API server lets become of a resource that exists: every transition rule, both ways, on a real one.

No operator runs: nothing but the rules of the CustomResourceDefinitions answers.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

from collectionstore_e2e.harness.context import Context
from collectionstore_e2e.harness.errors import refusal
from collectionstore_e2e.harness.kinds import BACKUP, CLUSTER, SCHEDULE, Kind, Object
from collectionstore_e2e.harness.scenario import scenario
from collectionstore_e2e.product.installation import define
from collectionstore_e2e.product.store import Store

INVALID: Final = 422
MIB: Final = 1 << 20
REPOSITORY: Final = {"url": "file:///repository/demo", "claimName": "backups"}


class Step(NamedTuple):
    """A merge patch, and the words of its refusal; none if it must be accepted."""

    change: Object
    refused: tuple[str, ...] = ()


def spec(**fields: Any) -> Object:
    """Return a change of the spec."""
    return {"spec": fields}


def status(**fields: Any) -> Object:
    """Return a change of the status."""
    return {"status": fields}


LIFE: Final = (
    # A name is judged when it is given; what follows is one life of one cluster, in its order.
    Step(spec(storage={"size": "48Mi"}), ("spec.storage.size", "cannot shrink")),
    Step(spec(storage={"size": "128Mi"})),
    Step(status(largestVolume=96 * MIB)),
    Step(spec(storage={"size": "64Mi"}), ("spec.storage.size", "cannot shrink")),
    Step(spec(storage={"size": "96Mi"})),
    Step(spec(storage={"class": "other"}), ("class is immutable",)),
    Step(spec(storage={"class": None}), ("class is immutable",)),
    Step(spec(storage={"encryption": {"secretName": "keys"}})),
    Step(spec(storage={"encryption": {"secretName": None, "url": "https://kms.shop"}})),
    Step(spec(storage={"encryption": None}), ("encryption cannot be removed",)),
    # Before it has an ID: everything with which a new cluster begins.
    Step(spec(bootstrap={"restore": {"repository": REPOSITORY}})),
    Step(spec(bootstrap={"restore": {"repository": REPOSITORY, "to": "end"}})),
    Step(spec(pod={"podSecurityContext": {"runAsUser": 20_000}})),
    Step(spec(tls={"authorities": "Separate"})),
    Step(spec(tls={"authorities": None})),
    Step(status(clusterID="first")),
    Step(spec(bootstrap={"restore": {"to": "revision:7"}}), ("bootstrap can only be removed",)),
    Step(spec(pod={"podSecurityContext": {"runAsUser": 20_001}}), ("runAsUser is immutable",)),
    Step(spec(pod=None), ("runAsUser is immutable",)),
    Step(spec(bootstrap=None)),
    Step(spec(bootstrap={"restore": {"repository": REPOSITORY}}), ("bootstrap can only be removed",)),
    # The identity: it changes by a recovery or a restore that tells from where to where, and by nothing else.
    Step(status(clusterID="second"), ("status.clusterID is immutable",)),
    Step(status(clusterID=None), ("status.clusterID is immutable",)),
    Step({"status": None}, ("status.clusterID is immutable",)),
    Step(
        status(clusterID="second", recovery={"fromClusterID": "other", "clusterID": "second"}),
        ("status.clusterID is immutable",),
    ),
    Step(status(clusterID="second", recovery={"fromClusterID": "first", "clusterID": "second"})),
    Step(status(clusterID="third"), ("status.clusterID is immutable",)),
    Step(status(clusterID="third", restore={"fromClusterID": "second", "clusterID": "third"})),
    Step(status(initialized=True)),
    Step(status(initialized=False), ("status.initialized cannot be reset",)),
    Step(status(initialized=None), ("status.initialized cannot be reset",)),
    # An authority of their own: it can be asked for at any time, and taken back until peers have one.
    Step(spec(tls={"authorities": "Separate"})),
    Step(status(peerAuthority={"key": "0123456789abcdef"})),
    # What is no transition, and yet is asked of an object that exists.
    Step(spec(replicas=4), ("spec.replicas", "3, 5, 7 or 9")),
    Step(spec(replicas=5)),
    Step(spec(replicas=3)),
    Step(spec(tls={"client": "Disabled"}), ("spec.tls.client",)),
    Step(spec(raft={"heartbeatMilliseconds": 200}), ("spec.raft",)),
    Step(status(conditions=[{"type": "Ready"}]), ("status.conditions",)),
    Step(spec(tls={"authorities": None}), ("authorities cannot be taken back",)),
    Step(spec(tls=None), ("authorities cannot be taken back",)),
)
IMMUTABLE: Final[tuple[tuple[Kind, Object], ...]] = (
    (SCHEDULE, {"clusterName": "other"}),
    (BACKUP, {"clusterName": "other"}),
    (BACKUP, {"repository": {"url": "file:///repository/other"}}),
    (BACKUP, {"deadlineSeconds": 7_200}),
    (BACKUP, {"maxBytesPerSecond": 4 * MIB}),
    (BACKUP, {"serviceAccountName": "other"}),
    (BACKUP, {"resources": {"requests": {"cpu": "30m"}}}),
)
MUTABLE: Final[tuple[tuple[Kind, Object], ...]] = (
    (SCHEDULE, {"suspend": True, "schedule": "0 4 * * *", "repository": {"url": "file:///repository/other"}}),
    (BACKUP, {"deletionPolicy": "Delete"}),
    (BACKUP, {"deletionPolicy": "Retain"}),
)


@scenario(timeout_s=180)
async def the_api_server_judges_every_transition(context: Context) -> None:
    """Every rule about what may become of a resource: it refuses what it must, names it, and lets the rest through."""
    await define(context)
    await context.client.create(Store(context).manifest(storage={"size": "64Mi", "class": "standard"}))
    for number, step in enumerate(LIFE):
        subresource = "status" if "status" in step.change else ""
        attempt = context.client.patch(CLUSTER, "demo", step.change, subresource=subresource)
        await _judged(f"step {number}: {step.change}", attempt, step.refused)
    await _names(context)
    for kind, name in ((BACKUP, "one"), (SCHEDULE, "often")):
        await context.client.create(_resource(kind, name))
    for kind, change in IMMUTABLE:
        (field,) = change
        attempt = context.client.patch(kind, _name(kind), {"spec": change})
        await _judged(f"{kind.name}: {change}", attempt, (f"{field} is immutable", "allowed: the current value"))
    for kind, change in MUTABLE:
        await _judged(f"{kind.name}: {change}", context.client.patch(kind, _name(kind), {"spec": change}), ())
    refused = sum(bool(step.refused) for step in LIFE) + len(IMMUTABLE)
    context.say(f"{refused} transitions refused with their reasons, {len(LIFE) + len(MUTABLE) - refused} others made")


async def _judged(what: str, attempt: Any, words: tuple[str, ...]) -> None:
    if not words:
        await attempt
        return
    found = await refusal(attempt)
    assert found.status == INVALID, f"{what}: {found}"
    assert all(word in found.message for word in words), f"{what}: none of {words} in {found}"


async def _names(context: Context) -> None:
    """Names that belong to the objects of other clusters are refused to new ones."""
    for ending in ("authority", "node", "operator", "peers", "read", "record"):
        attempt = context.client.create(Store(context, f"demo-{ending}").manifest())
        await _judged(f"demo-{ending}", attempt, ("names with this ending", f"-{ending}"))


def _name(kind: Kind) -> str:
    return {BACKUP.name: "one", SCHEDULE.name: "often"}[kind.name]


def _resource(kind: Kind, name: str) -> Object:
    fields: Object = {"clusterName": "demo", "repository": REPOSITORY}
    if kind is SCHEDULE:
        fields["schedule"] = "0 3 * * *"
    else:
        fields |= {
            "deadlineSeconds": 3_600,
            "maxBytesPerSecond": 8 * MIB,
            "serviceAccountName": "backup",
            "resources": {"requests": {"cpu": "20m", "memory": "64Mi"}},
        }
    return {"apiVersion": kind.api_version, "kind": kind.name, "metadata": {"name": name}, "spec": fields}
