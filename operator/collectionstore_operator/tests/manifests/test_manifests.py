"""The Kubernetes objects: safety properties, and equal objects for equal resources."""

from __future__ import annotations

import re
from typing import Any

import msgspec
import pytest

from collectionstore_operator import manifests
from collectionstore_operator.kubernetes.api import permissions
from collectionstore_operator.manifests import poddisruptionbudget, serviceaccount, services, statefulset
from collectionstore_operator.manifests.node_environment import (
    PREFIX,
    MemberPlacement,
    node_settings,
    revision,
    spec_settings,
)
from collectionstore_operator.model.assessment import assess
from collectionstore_operator.model.observed import AppliedObject
from collectionstore_operator.planning.disruption_budget import max_unavailable
from collectionstore_operator.resource import labels
from collectionstore_operator.resource.desired import (
    Desired,
    Diagnostics,
    EnvironmentVariable,
    Monitoring,
    NetworkAccess,
    PodTemplate,
    Raft,
    Resources,
    Runtime,
    SlowOperations,
    Spread,
    Storage,
    Tls,
    Toleration,
)
from collectionstore_operator.resource.fields import Policy
from collectionstore_operator.resource.scheduling import Affinity, LabelSelector, PodAntiAffinity, PodTerm
from collectionstore_operator.tests.planning.pictures import CLUSTER_ID, draw, make_desired

DESIRED = msgspec.structs.replace(make_desired(3), namespace="shop", uid="4a1c")


def pod(desired: Desired = DESIRED) -> dict[str, Any]:
    """Return the pod template."""
    template: dict[str, Any] = statefulset.build(desired, cluster_id=CLUSTER_ID, replicas=3).body["spec"]["template"]
    return template


def container(desired: Desired = DESIRED) -> dict[str, Any]:
    """Return the only container."""
    (only,) = pod(desired)["spec"]["containers"]
    found: dict[str, Any] = only
    return found


def test_statefulset_decides_nothing_by_itself() -> None:
    """OnDelete, Parallel, and volumes are retained."""
    spec = statefulset.build(DESIRED, cluster_id=CLUSTER_ID, replicas=5).body["spec"]
    assert spec["replicas"] == 5
    assert spec["updateStrategy"] == {"type": "OnDelete"}
    assert spec["podManagementPolicy"] == "Parallel"
    assert spec["persistentVolumeClaimRetentionPolicy"] == {"whenScaled": "Retain", "whenDeleted": "Retain"}
    assert spec["selector"]["matchLabels"].items() <= pod()["metadata"]["labels"].items()
    assert spec["serviceName"] == services.peers(DESIRED).name


def test_pod_meets_the_restricted_standard() -> None:
    """Pod Security `restricted`: every field it asks for, and a read-only root on top."""
    spec = pod()["spec"]
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert spec["automountServiceAccountToken"] is False
    assert container()["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert not {"hostNetwork", "hostPID", "hostIPC"} & spec.keys()
    assert [set(volume) - {"name"} for volume in spec["volumes"]] == [{"configMap"}, {"projected"}]


def test_pod_can_request_its_certificate_and_nothing_else() -> None:
    """Its token is bound to the pod, expires, and has no other permission."""
    spec = pod()["spec"]
    assert spec["serviceAccountName"] == serviceaccount.build(DESIRED).name
    assert serviceaccount.build(DESIRED).body["automountServiceAccountToken"] is False
    trust, credentials = spec["volumes"]
    assert trust["configMap"]["items"] == [{"key": "ca.crt", "path": "ca.crt"}]
    token, _ = credentials["projected"]["sources"]
    assert token["serviceAccountToken"]["expirationSeconds"] == 3_600
    assert all(mount["readOnly"] for mount in container()["volumeMounts"][1:])
    assert {"name": "COLLECTIONSTORE_ENROLMENT", "value": "Kubernetes"} in container()["env"]
    (only,) = permissions.NODES
    assert (only.group, only.resource) == ("certificates.k8s.io", "certificatesigningrequests")
    assert only.verbs == ("create", "get"), "a node may ask and hear; it must not be able to list, approve or sign"


def test_pod_is_annotated_with_its_revision() -> None:
    """The planner compares it with the desired revision."""
    assert pod()["metadata"]["annotations"] == {labels.REVISION: revision(DESIRED)}


def test_probes_and_ports_are_those_of_the_node() -> None:
    """Readiness is a linearizable read; liveness is not, or a lost quorum would restart the remaining members."""
    ports = {port["name"]: port["containerPort"] for port in container()["ports"]}
    assert ports == {"client": 7400, "peer": 7401, "metrics": 7402}
    probes = {name: container()[name]["httpGet"] for name in ("startupProbe", "livenessProbe", "readinessProbe")}
    assert {name: (probe["path"], probe["port"]) for name, probe in probes.items()} == {
        "startupProbe": ("/livez", "metrics"),
        "livenessProbe": ("/livez", "metrics"),
        "readinessProbe": ("/readyz", "metrics"),
    }


def test_environment_names_the_pod_first_and_expands_it() -> None:
    """Kubernetes expands a variable only in those after it."""
    variables = container()["env"]
    assert variables[0]["valueFrom"] == {"fieldRef": {"fieldPath": "metadata.name"}}
    assert variables[1]["valueFrom"] == {"fieldRef": {"fieldPath": "metadata.namespace"}}
    values = {variable["name"]: variable.get("value") for variable in variables}
    host = "$(COLLECTIONSTORE_NAME).demo-peers.shop.svc"
    assert values["COLLECTIONSTORE_PEER_ADVERTISE"] == f"{host}:7401"
    assert values["COLLECTIONSTORE_CLIENT_ADVERTISE"] == f"https://{host}:7400"
    assert values["COLLECTIONSTORE_CLUSTER_ID"] == CLUSTER_ID
    assert values["COLLECTIONSTORE_HEARTBEAT_MS"] == "150"
    assert len(values) == len(variables)


def test_both_runtimes_give_a_node_the_same_variables() -> None:
    """They differ in who generates the key of a member: the operator (local) or the node itself (Kubernetes)."""
    placement = MemberPlacement(
        name="demo-0",
        cluster_id=CLUSTER_ID,
        data_dir="/d",
        tls_dir="/t",
        client_address="127.0.0.1:7400",
        peer_address="127.0.0.1:7401",
        metrics_address="127.0.0.1:7402",
        client_advertise="http://127.0.0.1:7400",
        peer_advertise="127.0.0.1:7401",
    )
    enrolment = {"COLLECTIONSTORE_ENROLMENT", "COLLECTIONSTORE_NAMESPACE"}
    assert {variable["name"] for variable in container()["env"]} - enrolment == node_settings(DESIRED, placement).keys()


def test_volume_has_size_and_class_of_the_resource() -> None:
    """Size and class; without a class the cluster's default is used, which an empty one would switch off."""
    desired = make_desired(3, storage=Storage(size="3Gi", class_="fast"))
    (claim,) = statefulset.build(desired, cluster_id=CLUSTER_ID, replicas=3).body["spec"]["volumeClaimTemplates"]
    assert claim["spec"]["resources"] == {"requests": {"storage": "3Gi"}}
    assert claim["spec"]["storageClassName"] == "fast"
    (claim,) = statefulset.build(DESIRED, cluster_id=CLUSTER_ID, replicas=3).body["spec"]["volumeClaimTemplates"]
    assert "storageClassName" not in claim["spec"]
    assert "ownerReferences" not in claim["metadata"]
    assert claim["metadata"]["annotations"] == {labels.CLUSTER_ID: CLUSTER_ID}


def test_resources_reach_the_container() -> None:
    """Requests and limits as written."""
    desired = make_desired(3, resources=Resources(requests={"cpu": "500m"}, limits={"memory": "2Gi", "cpu": 2}))
    assert container(desired)["resources"] == {"requests": {"cpu": "500m"}, "limits": {"memory": "2Gi", "cpu": 2}}


EXTRAS = PodTemplate(
    labels={"team": "shop"},
    annotations={"example.com/note": "x"},
    environment=(EnvironmentVariable(name="TZ", value="UTC"), EnvironmentVariable(name="RAW", value="$(TZ)")),
    image_pull_policy="Always",
    image_pull_secrets=("registry",),
    node_selector={"disk": "ssd"},
    tolerations=(Toleration(key="disk", operator="Exists", effect="NoExecute", toleration_seconds=0),),
    affinity=Affinity(
        pod_anti_affinity=PodAntiAffinity(
            required_during_scheduling_ignored_during_execution=(
                PodTerm(
                    topology_key="kubernetes.io/hostname",
                    label_selector=LabelSelector(match_labels={"app": "batch"}),
                    namespace_selector=LabelSelector(),
                ),
            )
        )
    ),
    priority_class_name="high",
)


def test_pod_settings_of_the_resource_reach_the_pods() -> None:
    """Each under the name the pod API has for it; an empty selector, which selects everything, stays."""
    desired = make_desired(3, pod=EXTRAS)
    made = pod(desired)
    assert made["metadata"]["labels"]["team"] == "shop"
    assert made["metadata"]["annotations"] == {"example.com/note": "x", labels.REVISION: revision(desired)}
    spec = made["spec"]
    assert spec["imagePullSecrets"] == [{"name": "registry"}]
    assert spec["nodeSelector"] == {"disk": "ssd"}
    assert spec["tolerations"] == [
        {"key": "disk", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 0},
    ]
    term = {
        "topologyKey": "kubernetes.io/hostname",
        "labelSelector": {"matchLabels": {"app": "batch"}},
        "namespaceSelector": {},
    }
    required = {"requiredDuringSchedulingIgnoredDuringExecution": [term]}
    assert spec["affinity"] == {"podAntiAffinity": required}
    assert spec["priorityClassName"] == "high"
    assert container(desired)["imagePullPolicy"] == "Always"
    assert container(desired)["env"][-2:] == [{"name": "TZ", "value": "UTC"}, {"name": "RAW", "value": "$$(TZ)"}]


def test_certificate_of_the_user_is_mounted_for_clients_if_there_is_one() -> None:
    """Pods without it stay as they are: an operator that knows the field restarts no members."""
    plain, given = make_desired(3), make_desired(3, tls=Tls(client_secret_name="public"))
    (volume,) = (one for one in pod(given)["spec"]["volumes"] if one not in pod(plain)["spec"]["volumes"])
    assert volume["secret"]["secretName"] == "public"
    assert volume["secret"]["optional"]
    (mount,) = (one for one in container(given)["volumeMounts"] if one not in container(plain)["volumeMounts"])
    variables = {one["name"]: one.get("value") for one in container(given)["env"]}
    assert variables["COLLECTIONSTORE_CLIENT_CERTIFICATE_DIR"] == mount["mountPath"]
    assert "COLLECTIONSTORE_CLIENT_CERTIFICATE_DIR" not in {one["name"] for one in container(plain)["env"]}
    other = make_desired(3, tls=Tls(client_secret_name="other"))
    assert len({revision(plain), revision(given), revision(other)}) == 3


def test_users_cannot_override_the_selector_labels() -> None:
    """The parser rejects such labels; even otherwise those of the operator would win."""
    desired = make_desired(3, pod=PodTemplate(labels=dict.fromkeys(labels.object_labels("demo"), "theirs")))
    assert labels.object_labels("demo").items() <= pod(desired)["metadata"]["labels"].items()


@pytest.mark.parametrize(
    ("policy", "unsatisfiable"), [("Preferred", "ScheduleAnyway"), ("Required", "DoNotSchedule"), ("Disabled", None)]
)
def test_members_are_spread_as_the_resource_says(policy: Policy, unsatisfiable: str | None) -> None:
    """Zones and nodes, each by its own policy."""
    made = pod(make_desired(3, spread=Spread(zones=policy, nodes="Preferred")))["spec"]["topologySpreadConstraints"]
    found = {one["topologyKey"]: one["whenUnsatisfiable"] for one in made}
    assert found.get("topology.kubernetes.io/zone") == unsatisfiable
    assert found["kubernetes.io/hostname"] == "ScheduleAnyway"


def test_pod_monitor_exists_only_if_enabled() -> None:
    """Most API servers do not have the kind."""
    assert "PodMonitor" not in [one.kind for one in manifests.build(DESIRED, disruptions=1)]
    desired = make_desired(
        3, monitoring=Monitoring(pod_monitor="Enabled", labels={"release": "p"}, interval_seconds=15)
    )
    monitor = manifests.build(desired, disruptions=1)[-1]
    assert monitor.body["apiVersion"] == "monitoring.coreos.com/v1"
    assert monitor.body["metadata"]["labels"] == {"release": "p", **labels.object_labels("demo")}
    (endpoint,) = monitor.body["spec"]["podMetricsEndpoints"]
    relabelings = endpoint.pop("relabelings")
    assert endpoint == {"port": "metrics", "path": "/metrics", "interval": "15s"}
    # By these dashboards and alerts know clusters and members, and the pods of a cluster are labelled with its name.
    assert {one["targetLabel"]: one.get("replacement") for one in relabelings} == {
        "cluster": None,
        "instance": None,
        "job": "collectionstore-node",
    }
    (cluster,) = relabelings[0]["sourceLabels"]
    known = {f"__meta_kubernetes_pod_label_{re.sub('[^a-z]', '_', name)}": name for name in labels.selector("demo")}
    assert labels.selector("demo")[known[cluster]] == "demo"
    assert monitor.kind in manifests.OPTIONAL


def test_revision_of_a_resource_that_uses_no_new_field_is_as_before() -> None:
    """A newer operator with more fields must not restart members of resources that do not use them."""
    assert revision(make_desired(3)) == revision(make_desired(3, resources=Resources())) == "1d3dbb6f81"


def test_peers_resolve_each_other_when_no_member_is_ready() -> None:
    """After a loss of quorum none is ready, and they must connect to restore it."""
    spec = services.peers(DESIRED).body["spec"]
    assert spec["clusterIP"] == "None"
    assert spec["publishNotReadyAddresses"] is True


def test_clients_reach_ready_members_alone() -> None:
    """An ordinary Service on the client port."""
    spec = services.client(DESIRED).body["spec"]
    assert [port["port"] for port in spec["ports"]] == [7400]
    assert "publishNotReadyAddresses" not in spec
    assert spec["selector"] == labels.selector("demo")


@pytest.mark.parametrize(
    ("picture", "replicas", "allowed"),
    [
        ("0: leader\n1: voter\n2: voter", 3, 1),
        ("0: leader\n1: voter\n2: voter down=5", 3, 1),
        ("0: leader\n1: voter\n2: voter\n3: voter\n4: voter", 5, 1),
        ("0: leader\n1: learner\n2: learner", 3, 0),
        ("0: leader\n1: incoming\n2: incoming", 3, 0),
        ("0: leader\n1: voter", 2, 0),
        ("0: leader", 1, 1),
        ("0: fresh\n1: fresh\n2: fresh", 3, 0),
        ("0: leader\n1: voter\n2: renewed", 3, 0),
        ("0: leader\n1: voter\n2: rejoined", 3, 0),
        ("0: leader\n1: voter\n2: voter lag=900", 3, 0),
        ("0: leader\n1: voter\n2: voter\n3: voter\n4: rejoined", 5, 1),
        ("0: leader\n1: voter\n2: voter\n3: rejoined\n4: rejoined", 5, 0),
        ("0: voter\n1: voter\n2: voter", 3, 0),
    ],
)
def test_disruptions_follow_the_voters(picture: str, replicas: int, allowed: int) -> None:
    """At most one, none while no voter can fail; a single replica is not protected from a drain."""
    desired = make_desired(replicas)
    assert max_unavailable(assess(desired, draw(picture, desired))) == allowed


def test_budget_is_unchanged_while_no_node_responds() -> None:
    """What cannot be computed is not replaced by a guess."""
    desired = make_desired(3)
    budget = AppliedObject(kind="PodDisruptionBudget", name="demo", digest="x")
    for picture in ("0: voter mute\n1: voter mute\n2: voter mute", "0: voter\n1: voter\n2: voter"):
        blind = assess(desired, draw(picture, desired, initialized=True, objects=(budget,)))
        assert max_unavailable(blind) is None
    assert [one.kind for one in manifests.build(desired, disruptions=None)] == [
        "ServiceAccount",
        "Service",
        "Service",
        "NetworkPolicy",
    ]


def test_budget_never_protects_a_broken_pod() -> None:
    """A pod that is not ready protects nothing, and would block the drain of its Kubernetes node."""
    spec = poddisruptionbudget.build(DESIRED, disruptions=1).body["spec"]
    assert spec["unhealthyPodEvictionPolicy"] == "AlwaysAllow"
    assert spec["maxUnavailable"] == 1


def test_objects_belong_to_their_cluster() -> None:
    """Owner, labels, namespace and digest on every object."""
    made = [*manifests.build(DESIRED, disruptions=1), statefulset.build(DESIRED, cluster_id=CLUSTER_ID, replicas=3)]
    kinds = ["ServiceAccount", "Service", "Service", "PodDisruptionBudget", "NetworkPolicy", "StatefulSet"]
    assert [one.kind for one in made] == kinds
    for one in made:
        metadata = one.body["metadata"]
        assert metadata["namespace"] == "shop"
        assert metadata["labels"] == labels.object_labels("demo")
        assert metadata["annotations"] == {labels.DIGEST: one.digest}
        assert [owner["uid"] for owner in metadata["ownerReferences"]] == ["4a1c"]


def test_digest_changes_with_the_content_alone() -> None:
    """Equal resources render equal objects: nothing is applied again."""
    again = msgspec.structs.replace(DESIRED, generation=99, annotations={"a": "b"})
    first = statefulset.build(DESIRED, cluster_id=CLUSTER_ID, replicas=3)
    assert statefulset.build(again, cluster_id=CLUSTER_ID, replicas=3) == first
    assert statefulset.build(DESIRED, cluster_id=CLUSTER_ID, replicas=5).digest != first.digest


@pytest.mark.parametrize(
    "changed",
    [
        make_desired(3, version="0.2.0"),
        make_desired(3, image="registry/x"),
        make_desired(3, raft=Raft(heartbeat_milliseconds=100)),
        make_desired(3, raft=Raft(profile="fast")),
        make_desired(3, pod=EXTRAS),
        make_desired(3, spread=Spread(zones="Required")),
        make_desired(3, tls=Tls(client="Disabled")),
        make_desired(3, resources=Resources(limits={"cpu": 1})),
        msgspec.structs.replace(make_desired(3), annotations={labels.RESTART: "now"}),
    ],
)
def test_revision_changes_with_what_needs_a_restart(changed: Desired) -> None:
    """Every field that a running node cannot reload."""
    assert revision(changed) != revision(make_desired(3))


@pytest.mark.parametrize(
    "changed",
    [
        make_desired(5),
        make_desired(3, paused=True),
        make_desired(3, storage=Storage(retention="Delete")),
        make_desired(3, monitoring=Monitoring(pod_monitor="Enabled")),
        make_desired(3, network_policy=NetworkAccess(mode="Disabled")),
        msgspec.structs.replace(make_desired(3), generation=9, uid="x", annotations={"note": "y"}),
    ],
)
def test_revision_stays_when_no_restart_is_needed(changed: Desired) -> None:
    """Scaling, pausing and similar changes restart no member."""
    assert revision(changed) == revision(make_desired(3))


def test_runtimes_have_names_of_their_own() -> None:
    """They are written into messages."""
    assert [one.value for one in Runtime] == ["Kubernetes", "Local"]


def test_diagnostics_are_the_node_s_variables_where_they_are_not_its_defaults() -> None:
    diagnostics = Diagnostics(
        log_level="debug", profiling="Enabled", slow_milliseconds=SlowOperations(fsync=20, http=0)
    )
    settings = spec_settings(make_desired(3, diagnostics=diagnostics))
    expected = {"LOG_LEVEL": "debug", "PROFILING": "Enabled", "SLOW_FSYNC_MS": "20", "SLOW_HTTP_MS": "0"}
    assert {name.removeprefix(PREFIX): text for name, text in settings.items()}.items() >= expected.items()
    usual = spec_settings(make_desired(3))
    assert set(settings) - set(usual) == {PREFIX + name for name in expected}
    assert spec_settings(make_desired(3, diagnostics=Diagnostics())) == usual
