"""The resource: defaults, bounds, rules between fields, and errors that name path and allowed values."""

from __future__ import annotations

import copy
from typing import Any

import msgspec
import pytest
from msgspec import inspect

from collectionstore_operator.errors import InvalidResource
from collectionstore_operator.manifests.node_environment import memory_settings, spec_settings
from collectionstore_operator.resource import schema
from collectionstore_operator.resource.desired import PROFILES, Desired, Runtime, Spec, parse, quantity_bytes

MINIMAL: dict[str, Any] = {
    "apiVersion": "collectionstore.io/v1alpha1",
    "kind": "CollectionStoreCluster",
    "metadata": {"name": "demo"},
}


POLICIES = "Disabled or Preferred or Required"


def manifest(spec: object = None, **top: object) -> dict[str, Any]:
    """Return a manifest with this spec; `top` replaces top-level fields."""
    resource = copy.deepcopy(MINIMAL) | top
    return resource if spec is None else resource | {"spec": spec}


def paths(resource: object, runtime: Runtime = Runtime.KUBERNETES) -> list[str]:
    """Return the paths of all errors."""
    with pytest.raises(InvalidResource) as caught:
        parse(resource, runtime=runtime)
    return [error.path for error in caught.value.errors]


def error(resource: object, runtime: Runtime = Runtime.KUBERNETES) -> str:
    """Return the only error as text."""
    with pytest.raises(InvalidResource) as caught:
        parse(resource, runtime=runtime)
    (only,) = caught.value.errors
    return str(only)


def test_defaults_are_explicit() -> None:
    """A manifest without a spec is complete: every default is written here."""
    assert msgspec.to_builtins(parse(manifest()).spec) == {
        "replicas": 3,
        "readReplicas": None,
        "readReplicasMax": None,
        "readReplicaMaxStalenessSeconds": None,
        "version": "0.1.0",
        "image": None,
        "storage": {
            "size": "10Gi",
            "class": None,
            "quota": None,
            "growth": None,
            "encryption": None,
            "retention": "Retain",
            "releasedVolumes": None,
            "labels": None,
            "annotations": None,
        },
        "resources": {"requests": {"cpu": "100m", "memory": "256Mi"}, "limits": {"memory": "1Gi"}},
        "raft": {
            "profile": "default",
            "heartbeatMilliseconds": None,
            "electionTimeoutMinMilliseconds": None,
            "electionTimeoutMaxMilliseconds": None,
        },
        "snapshot": {"commands": 10_000, "logBytes": 67_108_864},
        "tls": {
            "client": "Required",
            "certificateLifetimeSeconds": None,
            "authorityLifetimeSeconds": None,
            "dnsNames": None,
            "ipAddresses": None,
            "clusterDomain": None,
            "clientSecretName": None,
            "authorities": None,
        },
        "failedMember": {"replacement": "Automatic", "graceSeconds": 300},
        "spread": {"zones": "Preferred", "nodes": "Preferred"},
        "pod": {
            "labels": {},
            "annotations": {},
            "environment": (),
            "imagePullPolicy": "IfNotPresent",
            "imagePullSecrets": (),
            "nodeSelector": {},
            "tolerations": (),
            "affinity": None,
            "priorityClassName": None,
            "terminationGracePeriodSeconds": None,
            "runtimeClassName": None,
            "schedulerName": None,
            "hostAliases": None,
            "topologySpreadConstraints": None,
            "podSecurityContext": None,
            "securityContext": None,
        },
        "networkPolicy": {"mode": "Enabled", "clients": (), "monitoring": ()},
        "monitoring": {"podMonitor": "Disabled", "labels": {}, "intervalSeconds": 30, "tls": None},
        "diagnostics": {
            "logLevel": "info",
            "profiling": "Disabled",
            "slowMilliseconds": {"write": 500, "read": 300, "fsync": 100, "apply": 100, "http": 1_000},
        },
        "audit": None,
        "paused": False,
        "service": None,
        "updates": None,
        "hibernate": None,
        "deletionProtection": False,
        "deletion": None,
        "recovery": None,
        "bootstrap": None,
        "restore": None,
        "access": None,
        "unsafe": {"allowEvenReplicas": False, "allowSingleReplica": False},
        "local": {"basePort": 7_400, "portStep": 10},
    }


def test_every_field_is_described() -> None:
    """The descriptions are the output of `kubectl explain`."""
    missing = [path for path, field in _fields(inspect.type_info(Spec), "spec") if not _described(field.type)]
    assert missing == []


def test_metadata_is_read_and_its_other_fields_are_left_alone() -> None:
    """Fields that the API server sets are accepted and ignored."""
    metadata = {
        "name": "demo",
        "namespace": "shop",
        "uid": "4a1c",
        "generation": 7,
        "annotations": {"a": "b"},
        "managedFields": [{}],
        "deletionTimestamp": "2026-08-27T12:00:00Z",
    }
    desired = parse(manifest(metadata=metadata, status={"replicas": 3}))
    assert desired == Desired(
        name="demo", namespace="shop", uid="4a1c", generation=7, annotations={"a": "b"}, deleting=True, spec=Spec()
    )


def test_null_counts_as_absent() -> None:
    """As in an API server, which prunes nulls and then fills in defaults; `storage:` alone is such a null in YAML."""
    assert parse(manifest({"storage": None, "raft": {"heartbeatMilliseconds": None}})).spec == Spec()


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (
            {"raft": {"heartbeatMillisecond": 100}},
            "spec.raft.heartbeatMillisecond: unknown field, did you mean heartbeatMilliseconds?; allowed: "
            "profile, heartbeatMilliseconds, electionTimeoutMinMilliseconds, electionTimeoutMaxMilliseconds",
        ),
        ({"raft": {"profile": "Fast"}}, "spec.raft.profile: 'Fast' is not allowed; allowed: default or fast"),
        (
            {"storage": {"size": "10Gi", "quota": "10Gi"}},
            "spec.storage.quota: the volume would be full before the quota is reached; allowed: less than "
            "spec.storage.size",
        ),
        (
            {"storage": {"quota": "255Mi"}},
            "spec.storage.quota: a member's logs alone could use so small a quota; allowed: at least 256Mi",
        ),
        (
            {"resources": {"limits": {"memory": "255Mi"}}},
            "spec.resources.limits: a member does not start with so little memory; allowed: at least 256Mi",
        ),
        (
            {"resources": {"limits": {"memory": 268435455}}},
            "spec.resources.limits: a member does not start with so little memory; allowed: at least 256Mi",
        ),
        (
            {"raft": {"heartbeatMilliseconds": 4}},
            "spec.raft.heartbeatMilliseconds: 4 is not allowed; allowed: an integer from 5 to 10000",
        ),
        (
            {"raft": {"profile": "fast", "heartbeatMilliseconds": 31}},
            "spec.raft.electionTimeoutMinMilliseconds: 60 is too close to the heartbeat interval: one delayed "
            "heartbeat would start an election; allowed: at least 62, twice spec.raft.heartbeatMilliseconds",
        ),
        ({"replicas": "3"}, "spec.replicas: '3' is not allowed; allowed: an integer from 1 to 9"),
        ({"replicas": True}, "spec.replicas: true is not allowed; allowed: an integer from 1 to 9"),
        ({"replicas": 3.0}, "spec.replicas: 3.0 is not allowed; allowed: an integer from 1 to 9"),
        ({"replicas": 0}, "spec.replicas: 0 is not allowed; allowed: an integer from 1 to 9"),
        ({"replicas": 11}, "spec.replicas: 11 is not allowed; allowed: an integer from 1 to 9"),
        ({"paused": "yes"}, "spec.paused: 'yes' is not allowed; allowed: true or false"),
        (
            {"storage": "10Gi"},
            "spec.storage: '10Gi' is not an object; allowed: an object with size, class, quota, growth, "
            "encryption, retention, releasedVolumes, labels, annotations",
        ),
        ({"storage": {"size": "ten"}}, "spec.storage.size: 'ten' is not allowed; allowed: a whole size such as 10Gi"),
        ({"storage": {"size": 10}}, "spec.storage.size: 10 is not allowed; allowed: a whole size such as 10Gi"),
        (
            {"storage": {"size": "1"}},
            "spec.storage.size: the volume is smaller than what an empty member needs; allowed: at least 64Mi",
        ),
        (
            {"resources": {"requests": {"memory": "512m"}}},
            "spec.resources.requests: memory and ephemeral-storage are whole numbers of bytes; the suffix m means "
            "thousandths; allowed: such as 512Mi or 2Gi",
        ),
        (
            {"resources": {"limits": {"cpu": "1.5"}, "requests": {"cpu": "1501m"}}},
            "spec.resources.limits: a limit is below its request: no pod with it can be created; "
            "allowed: limits of at least the requests, or none",
        ),
        (
            {"image": "a b"},
            "spec.image: 'a b' is not allowed; allowed: an image such as "
            "registry.example.com/collectionstore/node:0.1.0",
        ),
        ({"tls": {"client": "Off"}}, "spec.tls.client: 'Off' is not allowed; allowed: Disabled or Required"),
        (
            {"snapshot": {"commands": 999}},
            "spec.snapshot.commands: 999 is not allowed; allowed: an integer from 1000 to 100000000",
        ),
        (
            {"resources": {"limits": {"cpu": []}}},
            "spec.resources.limits.cpu: a list is not allowed; "
            "allowed: a quantity such as 500m or 2Gi or an integer from 0 to 1125899906842624",
        ),
        (
            {"resources": {"limits": {"gpu": 1}}},
            "spec.resources.limits.gpu: the key 'gpu' is not allowed; allowed: cpu or ephemeral-storage or memory",
        ),
        (
            {"replicas": 4},
            "spec.replicas: 4 replicas tolerate no more failures than 3; "
            "allowed: 3, 5, 7 or 9; even with spec.unsafe.allowEvenReplicas: true",
        ),
        (
            {"replicas": 1},
            "spec.replicas: a single replica tolerates no failure and has no second copy of the data; "
            "allowed: 3, 5, 7 or 9; 1 with spec.unsafe.allowSingleReplica: true",
        ),
        (
            {"raft": {"heartbeatMilliseconds": 151}},
            "spec.raft.electionTimeoutMinMilliseconds: 300 is too close to the heartbeat interval: one delayed "
            "heartbeat would start an election; allowed: at least 302, twice spec.raft.heartbeatMilliseconds",
        ),
        (
            {"raft": {"electionTimeoutMaxMilliseconds": 449}},
            "spec.raft.electionTimeoutMaxMilliseconds: 449 leaves no range for randomized election timeouts: "
            "votes would split; "
            "allowed: at least 450, electionTimeoutMinMilliseconds plus heartbeatMilliseconds",
        ),
        (
            {"pod": {"labels": {"app.kubernetes.io/name": "x"}}},
            "spec.pod.labels: it would override a label or annotation set by the operator; allowed: any key except "
            "app.kubernetes.io/component, app.kubernetes.io/instance, app.kubernetes.io/managed-by, "
            "app.kubernetes.io/name, app.kubernetes.io/version, collectionstore.io/cluster and keys with the prefix "
            "collectionstore.io/",
        ),
        (
            {"pod": {"labels": {"a b": "x"}}},
            "spec.pod.labels['a b']: the key 'a b' is not allowed; allowed: a key such as example.com/team",
        ),
        (
            {"pod": {"labels": {f"k{number}": "" for number in range(33)}}},
            "spec.pod.labels: 33 items are not allowed; allowed: at most 32",
        ),
        (
            {"pod": {"environment": [{"name": "COLLECTIONSTORE_NAME", "value": "x"}]}},
            "spec.pod.environment[0].name: the variable is a setting that the operator derives from the resource; "
            "allowed: any name without the prefix COLLECTIONSTORE_",
        ),
        (
            {"pod": {"environment": [{"name": "TZ"}, {"name": "A"}, {"name": "TZ"}]}},
            "spec.pod.environment[2]: the name 'TZ' is a duplicate; allowed: unique values",
        ),
        (
            {"pod": {"tolerations": [{"operator": "Exists", "value": "x"}]}},
            "spec.pod.tolerations[0].value: the operator Exists takes no value; "
            "allowed: no value with Exists; any value with Equal",
        ),
        (
            {"pod": {"tolerations": [{"value": "x"}]}},
            "spec.pod.tolerations[0].operator: an absent key matches every taint and requires the operator "
            "Exists; "
            "allowed: Exists; Equal with a key",
        ),
        (
            {"pod": {"tolerations": [{"key": "a", "effect": "NoSchedule", "tolerationSeconds": 5}]}},
            "spec.pod.tolerations[0].tolerationSeconds: tolerationSeconds requires the effect NoExecute; "
            "allowed: absent; any with effect NoExecute",
        ),
        ({"spread": {"zones": "Always"}}, "spec.spread.zones: 'Always' is not allowed; allowed: " + POLICIES),
        (
            {"monitoring": {"intervalSeconds": 4}},
            "spec.monitoring.intervalSeconds: 4 is not allowed; allowed: an integer from 5 to 3600",
        ),
        (
            {"tls": {"client": "Disabled"}},
            "spec.tls.client: client traffic would cross the network in plain text; "
            "allowed: Required; Disabled only with csctl local",
        ),
        ([], "spec: a list is not an object; allowed: an object with " + ", ".join(msgspec.to_builtins(Spec()))),
    ],
)
def test_error_names_the_path_and_the_allowed_values(spec: object, message: str) -> None:
    """The message says where the error is and what is allowed."""
    assert error(manifest(spec)) == message


@pytest.mark.parametrize(
    ("operator", "values", "fault"),
    [
        ("In", [], "In and NotIn require values"),
        ("NotIn", ["a"], ""),
        ("Exists", ["a"], "Exists and DoesNotExist take no values"),
        ("DoesNotExist", [], ""),
        ("Gt", ["3"], ""),
        ("Lt", ["x"], "Gt and Lt require one integer"),
        ("Gt", ["1", "2"], "Gt and Lt require one integer"),
    ],
)
def test_node_condition_must_fit_its_operator(operator: str, values: list[str], fault: str) -> None:
    """Reported here with its path; otherwise the API server would reject the whole StatefulSet later."""
    term = {"matchExpressions": [{"key": "disk", "operator": operator, "values": values}]}
    required = {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [term]}}
    resource = manifest({"pod": {"affinity": {"nodeAffinity": required}}})
    if not fault:
        assert parse(resource).spec.pod.affinity is not None
        return
    text = error(resource)
    path = "spec.pod.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution"
    assert text.startswith(f"{path}.nodeSelectorTerms[0].matchExpressions[0].values: {fault}")


def test_end_of_line_is_no_end_of_text() -> None:
    """Python's `$` also matches before a last newline, an API server's does not."""
    assert paths(manifest({"version": "0.1.0\n"})) == ["spec.version"]


def test_all_errors_are_reported_at_once() -> None:
    """One attempt shows all errors, in document order."""
    resource = {
        "apiVersion": "v1",
        "kind": "CollectionStoreCluster",
        "metadata": {"name": "Demo", "labels": {"a": 1}},
        "sepc": {},
        "spec": {"replicas": "3", "storage": {"sise": "1Gi", "retention": "Keep"}, "paused": 1},
    }
    assert paths(resource) == [
        "apiVersion",
        "sepc",
        "metadata.name",
        "metadata.labels.a",
        "spec.replicas",
        "spec.storage.sise",
        "spec.storage.retention",
        "spec.paused",
    ]


@pytest.mark.parametrize("name", ["", "a" * 41, "Demo", "1demo", "demo-", "de_mo", "demo.shop"])
def test_name_must_fit_into_the_names_made_of_it(name: str) -> None:
    """Services and pods are named after the cluster: a DNS label that begins with a letter, with room for a suffix."""
    assert paths(manifest(metadata={"name": name})) == ["metadata.name"]


def test_longest_name_is_accepted() -> None:
    """Forty characters are allowed."""
    assert parse(manifest(metadata={"name": "a" * 40})).member(8) == "a" * 40 + "-8"


@pytest.mark.parametrize("resource", [None, [], "text", 3])
def test_resource_must_be_an_object(resource: object) -> None:
    """Any other content is rejected."""
    assert paths(resource) == [""]


def test_unsafe_flags_open_what_they_name() -> None:
    """Each flag allows its own thing and nothing else."""
    assert parse(manifest({"replicas": 1, "unsafe": {"allowSingleReplica": True}})).spec.replicas == 1
    assert parse(manifest({"replicas": 2, "unsafe": {"allowEvenReplicas": True}})).spec.replicas == 2
    assert paths(manifest({"replicas": 1, "unsafe": {"allowEvenReplicas": True}})) == ["spec.replicas"]
    assert paths(manifest({"replicas": 2, "unsafe": {"allowSingleReplica": True}})) == ["spec.replicas"]


def test_plain_text_clients_are_accepted_on_loopback_only() -> None:
    """The local runtime listens on 127.0.0.1 alone."""
    plain = manifest({"tls": {"client": "Disabled"}})
    assert parse(plain, runtime=Runtime.LOCAL).spec.tls.client == "Disabled"
    assert paths(plain) == ["spec.tls.client"]


def test_local_ports_must_fit_below_65536() -> None:
    """The ports of as many members as there can ever be are checked, so that scaling cannot fail later."""
    text = error(manifest({"local": {"basePort": 65_500}}), Runtime.LOCAL)
    assert text == (
        "spec.local.basePort: with portStep 10 the last member's port would be 65582; allowed: at most 65453"
    )
    assert parse(manifest({"local": {"basePort": 65_453}}), runtime=Runtime.LOCAL).spec.local.client_port(8) == 65_533
    assert parse(manifest({"local": {"basePort": 65_500}})).spec.local.base_port == 65_500


@pytest.mark.parametrize(
    ("spec", "field"),
    [
        ({"restore": {"repository": {"url": "file:///srv/backups"}}}, "spec.restore"),
        (
            {"deletion": {"finalBackup": {"repository": {"url": "file:///srv/backups"}}}},
            "spec.deletion.finalBackup",
        ),
        ({"storage": {"releasedVolumes": {"policy": "Delete"}}}, "spec.storage.releasedVolumes"),
        ({"storage": {"releasedVolumes": {"policy": "Keep"}}}, "spec.storage.releasedVolumes"),
    ],
)
def test_what_needs_kubernetes_is_refused_for_local_clusters(spec: dict[str, Any], field: str) -> None:
    """Each with what to do in place of it."""
    with pytest.raises(InvalidResource) as caught:
        parse(manifest(spec), runtime=Runtime.LOCAL)
    (found,) = caught.value.errors
    assert (found.path, found.message) == (field, "is not for a local cluster")
    assert found.allowed.startswith("absent; ")


def test_refusal_carries_the_generation() -> None:
    """The status says which version of the resource was refused."""
    with pytest.raises(InvalidResource) as caught:
        parse(manifest({"replicas": 2}, metadata={"name": "demo", "generation": 9}))
    assert caught.value.generation == 9


@pytest.mark.parametrize(
    ("text", "number"),
    [("1", 1), ("3k", 3_000), ("2Ki", 2_048), ("10Gi", 10 << 30), ("1Pi", 1 << 50), ("5T", 5 * 10**12)],
)
def test_quantity_in_bytes(text: str, number: int) -> None:
    """Decimal and binary suffixes as Kubernetes writes them."""
    assert quantity_bytes(text) == number


def test_quantity_must_be_whole() -> None:
    """A size in bytes has no fraction."""
    with pytest.raises(ValueError, match=r"1\.5Gi"):
        quantity_bytes("1.5Gi")


@pytest.mark.parametrize(
    ("raft", "timings"),
    [
        ({}, (150, 300, 600)),
        ({"profile": "default"}, (150, 300, 600)),
        ({"profile": "fast"}, (15, 60, 120)),
        ({"profile": "fast", "electionTimeoutMaxMilliseconds": 200}, (15, 60, 200)),
        ({"heartbeatMilliseconds": 100, "electionTimeoutMinMilliseconds": 1_000}, None),
        ({"heartbeatMilliseconds": 100, "electionTimeoutMaxMilliseconds": 900}, (100, 300, 900)),
    ],
)
def test_profile_fills_in_the_timings_that_are_not_given(
    raft: dict[str, object], timings: tuple[int, int, int] | None
) -> None:
    """A value that is written overrides the profile's alone; what does not fit together then is refused."""
    if timings is None:
        assert paths(manifest({"raft": raft})) == ["spec.raft.electionTimeoutMaxMilliseconds"]
    else:
        assert parse(manifest({"raft": raft})).spec.raft.timings == timings


def test_every_profile_can_be_chosen_and_fits_together() -> None:
    """The schema's names and the table's are the same."""
    (profile,) = [field for path, field in _fields(inspect.type_info(Spec), "spec") if path == "spec.raft.profile"]
    assert set(_literal(profile.type)) == set(PROFILES)
    for name, timings in PROFILES.items():
        assert parse(manifest({"raft": {"profile": name}})).spec.raft.timings == timings


def test_image_follows_the_version_unless_it_is_given() -> None:
    """`version` alone is enough; `image` names another registry or a digest."""
    assert parse(manifest({"version": "0.2.0"})).spec.effective_image == "collectionstore/node:0.2.0"
    assert parse(manifest({"image": "registry/x@sha256:1"})).spec.effective_image == "registry/x@sha256:1"


def test_odd_names_are_quoted_in_paths() -> None:
    """A key that is not an identifier cannot be confused with two fields."""
    assert schema.child("metadata.annotations", "a.b/c") == "metadata.annotations['a.b/c']"
    assert schema.child("", "spec") == "spec"


def _fields(kind: inspect.Type, path: str) -> list[tuple[str, inspect.Field]]:
    while isinstance(kind, inspect.Metadata):
        kind = kind.type
    if not isinstance(kind, inspect.StructType):
        return []
    found = []
    for field in kind.fields:
        below = f"{path}.{field.encode_name}"
        found += [(below, field), *_fields(field.type, below)]
    return found


def _literal(kind: inspect.Type) -> list[object]:
    while isinstance(kind, inspect.Metadata):
        kind = kind.type
    assert isinstance(kind, inspect.LiteralType)
    return list(kind.values)


def _described(kind: inspect.Type) -> bool:
    if isinstance(kind, inspect.UnionType):
        return any(_described(one) for one in kind.types)
    if not isinstance(kind, inspect.Metadata):
        return False
    return "description" in (kind.extra_json_schema or {}) or _described(kind.type)


def test_quota_and_memory_reach_the_nodes_only_if_they_are_set() -> None:
    """A cluster without a quota keeps its revision: a newer operator must not restart its members."""
    plain, bounded = parse(manifest()), parse(manifest({"storage": {"quota": "8Gi"}}))
    assert "COLLECTIONSTORE_QUOTA_BYTES" not in spec_settings(plain)
    assert spec_settings(bounded)["COLLECTIONSTORE_QUOTA_BYTES"] == str(8 << 30)
    assert memory_settings(parse(manifest({"resources": {}}))) == {}
    limited = parse(manifest({"resources": {"limits": {"memory": "0.5Gi"}}}))
    assert memory_settings(limited) == {"COLLECTIONSTORE_MEMORY_BYTES": str(512 << 20)}
