"""The environment variables of a node, and the revision that identifies them.

Shared by both runtimes: a container and a local process get the same variables with different addresses and paths. The
environment contains nothing about joining: members are added by requests to the leader, so that a restart never repeats
a join.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any, Final

import msgspec

from collectionstore_operator.manifests.audit_environment import audit_place, audit_settings
from collectionstore_operator.resource import labels
from collectionstore_operator.resource.compute import DEFAULT_RESOURCES
from collectionstore_operator.resource.desired import Desired, Diagnostics, PodTemplate, Resources, Spread
from collectionstore_operator.resource.pod_template import LATER
from collectionstore_operator.resource.storage import Encryption

PREFIX: Final = "COLLECTIONSTORE_"
REVISION_LENGTH: Final = 10


class MemberPlacement(msgspec.Struct, frozen=True, kw_only=True):
    """The name, paths and addresses of a member, assigned by the runtime.

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
    """Return the variables that are derived from the spec and equal for all members."""
    spec = desired.spec
    timings = spec.raft.timings
    return {
        **_diagnostics(spec.diagnostics),
        # Only if used: a field that a newer operator introduces must not restart the members of clusters without it.
        **({f"{PREFIX}QUOTA_BYTES": str(spec.storage.quota_bytes)} if spec.storage.quota else {}),
        **_key_service(spec.storage.encryption),
        **_certificate_names(desired),
        **_of_group(desired),
        **audit_settings(spec.audit),
        f"{PREFIX}CLIENT_TLS": spec.tls.client,
        f"{PREFIX}HEARTBEAT_MS": str(timings.heartbeat_ms),
        f"{PREFIX}ELECTION_MIN_MS": str(timings.election_min_ms),
        f"{PREFIX}ELECTION_MAX_MS": str(timings.election_max_ms),
        f"{PREFIX}SNAPSHOT_COMMANDS": str(spec.snapshot.commands),
        f"{PREFIX}SNAPSHOT_LOG_BYTES": str(spec.snapshot.log_bytes),
    }


def _key_service(encryption: Encryption | None) -> dict[str, str]:
    """Return where keys are wrapped, if a service does it. A directory of keys differs between the runtimes."""
    return {f"{PREFIX}ENCRYPTION_URL": encryption.url} if encryption is not None and encryption.url else {}


def _certificate_names(desired: Desired) -> dict[str, str]:
    """Return the names that a node's certificate must have beside those of every member, if there are any.

    The node asks for another certificate when it starts with one that lacks them.
    """
    tls = desired.spec.tls
    clients = f"{labels.client_service(desired.workload)}.{desired.namespace}.svc"
    domain = (f"DNS:{clients}.{tls.cluster_domain}",) if tls.cluster_domain else ()
    names = (*domain, *tls.further_names)
    return {f"{PREFIX}CERTIFICATE_NAMES": ",".join(names)} if names else {}


def _of_group(desired: Desired) -> dict[str, str]:
    """Return what only read replicas are set to; only if used, so that no other revision changes."""
    staleness_s = desired.spec.read_replica_max_staleness_seconds
    if desired.group == "voters" or staleness_s is None:
        return {}
    return {f"{PREFIX}STALENESS_MAX_MS": str(staleness_s * 1_000)}


def memory_settings(desired: Desired) -> dict[str, str]:
    """Return the variables for a node without a container, which has no limit that it could read."""
    limit = desired.spec.resources.memory_limit_bytes
    return {} if limit is None else {f"{PREFIX}MEMORY_BYTES": str(limit)}


def _diagnostics(diagnostics: Diagnostics) -> dict[str, str]:
    """Return the variables that differ from the defaults of the node: an explicit default must not restart members."""
    defaults = Diagnostics()
    settings: dict[str, str] = {}
    if diagnostics.log_level != defaults.log_level:
        settings[f"{PREFIX}LOG_LEVEL"] = diagnostics.log_level
    if diagnostics.profiling != defaults.profiling:
        settings[f"{PREFIX}PROFILING"] = diagnostics.profiling
    slow, default_slow = (msgspec.structs.asdict(one.slow_milliseconds) for one in (diagnostics, defaults))
    changed = {name: milliseconds for name, milliseconds in slow.items() if milliseconds != default_slow[name]}
    return settings | {f"{PREFIX}SLOW_{name.upper()}_MS": str(milliseconds) for name, milliseconds in changed.items()}


def recovery_settings(recover: str) -> dict[str, str]:
    """Return the variable with an instruction to recover; none without one."""
    return {f"{PREFIX}RECOVER": recover} if recover else {}


def access_settings(mode: str) -> dict[str, str]:
    """Return the variable with the mode of access control before the cluster has a configuration of it."""
    return {f"{PREFIX}ACCESS": mode} if mode else {}


def placement_settings(placement: MemberPlacement) -> dict[str, str]:
    """Return the variables that are specific to a member."""
    return {
        f"{PREFIX}NAME": placement.name,
        f"{PREFIX}CLUSTER_ID": placement.cluster_id,
        f"{PREFIX}DATA_DIR": placement.data_dir,
        f"{PREFIX}TLS_DIR": placement.tls_dir,
        f"{PREFIX}CLIENT_ADDRESS": placement.client_address,
        f"{PREFIX}PEER_ADDRESS": placement.peer_address,
        f"{PREFIX}METRICS_ADDRESS": placement.metrics_address,
        f"{PREFIX}CLIENT_ADVERTISE": placement.client_advertise,
        f"{PREFIX}PEER_ADVERTISE": placement.peer_advertise,
        f"{PREFIX}LOG_FORMAT": placement.log_format,
    }


def node_settings(desired: Desired, placement: MemberPlacement) -> dict[str, str]:
    """Return all variables of a node."""
    settings = spec_settings(desired)
    return {**placement_settings(placement), **audit_place(settings, placement.data_dir), **settings}


def _used(part: dict[str, Any]) -> dict[str, Any]:
    """Return the JSON of a part of the spec without fields that are newer than the part, where they are not used."""
    found = {name: value for name, value in part.items() if name not in LATER or value is not None}
    if "environment" in found:
        variables = found["environment"]
        found["environment"] = [
            {name: value for name, value in one.items() if name != "valueFrom" or value is not None}
            for one in variables
        ]
    return found


def revision(desired: Desired) -> str:
    """Return the revision: a short digest of all fields of the resource whose change requires a restart.

    It covers the fields, not the resulting manifest: a newer operator may render the manifest differently and must not
    restart members.
    """
    spec = desired.spec
    fields = {
        "image": spec.effective_image,
        "version": spec.version,
        # The default counts as none, which it was: members of a cluster without the field get it when they restart.
        "resources": msgspec.to_builtins(Resources() if spec.resources == DEFAULT_RESOURCES else spec.resources),
        "settings": spec_settings(desired),
        "restart": desired.annotations.get(labels.RESTART, ""),
    }
    # Only if used: a field that a newer operator introduces must not restart the members of clusters without it.
    if spec.tls.client_secret_name:
        fields["clientSecret"] = spec.tls.client_secret_name
    if spec.storage.encryption is not None and spec.storage.encryption.secret_name:
        fields["encryptionKeys"] = spec.storage.encryption.secret_name
    if spec.tls.separate:
        fields["authorities"] = "Separate"
    if spec.monitoring.secured:
        fields["metricsTls"] = "Required"
    for name, part, default in (("pod", spec.pod, PodTemplate()), ("spread", spec.spread, Spread())):
        if part != default:
            fields[name] = _used(msgspec.to_builtins(part))
    text = json.dumps(fields, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:REVISION_LENGTH]
