"""What a node is told when it starts, as environment variables, and the revision that says whether it was told it all.

Shared by both runtimes: a pod's container and a local process get the same variables with other addresses and paths.
Nothing about joining is in here; a member is brought into the cluster by calls, so that no restart can repeat a join.
"""

from __future__ import annotations

import hashlib
import json
from typing import Final

import msgspec

from collectionstore_operator.resource import labels
from collectionstore_operator.resource.desired import Desired, Diagnostics, PodTemplate, Spread

PREFIX: Final = "COLLECTIONSTORE_"
REVISION_LENGTH: Final = 10


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """Where one member runs: its name, paths and addresses, which a runtime assigns.

    Listening addresses are `host:port`; `client_advertise` is a base URL, `peer_advertise` is `host:port`.
    """

    name: str
    cluster_id: str
    data_dir: str
    tls_dir: str
    client_address: str
    peer_address: str
    metrics_address: str
    client_advertise: str
    peer_advertise: str
    log_format: str = "json"


def spec_settings(desired: Desired) -> dict[str, str]:
    """Return the variables that follow from the spec and are equal for all members."""
    spec = desired.spec
    timings = spec.raft.timings
    return {
        **_diagnostics(spec.diagnostics),
        f"{PREFIX}CLIENT_TLS": spec.tls.client,
        f"{PREFIX}HEARTBEAT_MS": str(timings.heartbeat_ms),
        f"{PREFIX}ELECTION_MIN_MS": str(timings.election_min_ms),
        f"{PREFIX}ELECTION_MAX_MS": str(timings.election_max_ms),
        f"{PREFIX}SNAPSHOT_COMMANDS": str(spec.snapshot.commands),
        f"{PREFIX}SNAPSHOT_LOG_BYTES": str(spec.snapshot.log_bytes),
    }


def _diagnostics(wanted: Diagnostics) -> dict[str, str]:
    """Return the variables of what differs from a node's own defaults: nobody is restarted for what changes nothing."""
    usual = Diagnostics()
    settings: dict[str, str] = {}
    if wanted.log_level != usual.log_level:
        settings[f"{PREFIX}LOG_LEVEL"] = wanted.log_level
    if wanted.profiling != usual.profiling:
        settings[f"{PREFIX}PROFILING"] = wanted.profiling
    slow, usually = (msgspec.structs.asdict(one.slow_milliseconds) for one in (wanted, usual))
    changed = {name: milliseconds for name, milliseconds in slow.items() if milliseconds != usually[name]}
    return settings | {f"{PREFIX}SLOW_{name.upper()}_MS": str(milliseconds) for name, milliseconds in changed.items()}


def place_settings(place: Place) -> dict[str, str]:
    """Return the variables that differ from member to member."""
    return {
        f"{PREFIX}NAME": place.name,
        f"{PREFIX}CLUSTER_ID": place.cluster_id,
        f"{PREFIX}DATA_DIR": place.data_dir,
        f"{PREFIX}TLS_DIR": place.tls_dir,
        f"{PREFIX}CLIENT_ADDRESS": place.client_address,
        f"{PREFIX}PEER_ADDRESS": place.peer_address,
        f"{PREFIX}METRICS_ADDRESS": place.metrics_address,
        f"{PREFIX}CLIENT_ADVERTISE": place.client_advertise,
        f"{PREFIX}PEER_ADVERTISE": place.peer_advertise,
        f"{PREFIX}LOG_FORMAT": place.log_format,
    }


def node_settings(desired: Desired, place: Place) -> dict[str, str]:
    """Return every variable a node is started with."""
    return {**place_settings(place), **spec_settings(desired)}


def revision(desired: Desired) -> str:
    """Return a short digest of all in the resource that a running member can only learn by a restart.

    It covers the user's wishes and not the manifest they end up in, so that a newer operator, which may write the
    manifest differently, restarts nobody.
    """
    spec = desired.spec
    wishes = {
        "image": spec.effective_image,
        "version": spec.version,
        "resources": msgspec.to_builtins(spec.resources),
        "settings": spec_settings(desired),
        "restart": desired.annotations.get(labels.RESTART, ""),
    }
    # Only where they are used: a field that a newer operator knows must not restart those who do not use it.
    for name, part, default in (("pod", spec.pod, PodTemplate()), ("spread", spec.spread, Spread())):
        if part != default:
            wishes[name] = msgspec.to_builtins(part)
    text = json.dumps(wishes, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:REVISION_LENGTH]
