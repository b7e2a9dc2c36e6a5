"""The objects that work for backups: what their pods get, and what they do not."""

from __future__ import annotations

import json
from typing import Any

import kubernetes_validate
import msgspec
import pytest

from collectionstore_operator.manifests.backups.archive import build_archive
from collectionstore_operator.manifests.backups.jobs import SKEW_S, build_job, run_name
from collectionstore_operator.manifests.backups.policies import build_policy
from collectionstore_operator.manifests.backups.work import Work, work_of_backup, work_of_schedule
from collectionstore_operator.manifests.manifest import Manifest
from collectionstore_operator.model.backups.actions import StartRun, Task
from collectionstore_operator.model.timestamps import rfc3339
from collectionstore_operator.resource import labels
from collectionstore_operator.resource.backups import names
from collectionstore_operator.resource.backups.specs import Retention
from collectionstore_operator.resource.desired import Desired
from collectionstore_operator.resource.network import NetworkAccess
from collectionstore_operator.resource.repository import EncryptionKey, Repository
from collectionstore_operator.resource.spec import Spec
from collectionstore_operator.tests.planning.backups.scenes import BACKUP_ID, CLUSTER, START, a_backup, a_schedule

VERSIONS = ("1.31.0", "1.34.0", "1.37.0")
TASKS: tuple[Task, ...] = ("create", "delete", "prune", "drill")
FULL = Repository(
    url="s3://bucket/path",
    options={"endpoint": "http://minio:9000", "region": "$(HOME)"},
    credentials_secret_name="store",
    encryption_key=EncryptionKey(secret_name="key"),
)


def work(repository: Repository = FULL, cluster: Desired | None = CLUSTER.desired) -> Work:
    return work_of_backup(a_backup(repository=repository), cluster, "demo-1", "old:1")


def job(task: Task, repository: Repository = FULL, **options: Any) -> Manifest:
    action = StartRun(task=task, name=f"one-{task}-u1", subject=BACKUP_ID, reason="x")
    return build_job(work(repository), action, **options)


def container(made: Manifest) -> Any:
    (found,) = made.body["spec"]["template"]["spec"]["containers"]
    return found


def policy(of: Work | None = None) -> Manifest:
    found = build_policy(of or work())
    assert found is not None
    return found


def objects() -> list[Manifest]:
    place = Repository(url="file:///repository/x", claim_name="backups")
    return [
        *(job(task) for task in TASKS),
        *(job(task, place) for task in TASKS),
        build_archive(work()),
        policy(),
        policy(work(place)),
    ]


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("made", objects(), ids=lambda one: f"{one.kind}-{one.name}")
def test_every_object_is_valid_for_kubernetes(made: Manifest, version: str) -> None:
    kubernetes_validate.validate(made.body, version, strict=True)


@pytest.mark.parametrize("made", [*(job(task) for task in TASKS), build_archive(work())], ids=lambda one: one.name)
def test_pods_meet_the_restricted_standard_and_hold_no_key_of_the_authority(made: Manifest) -> None:
    spec = made.body["spec"]["template"]["spec"]
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert spec["automountServiceAccountToken"] is False
    security = container(made)["securityContext"]
    assert security == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert labels.authority_secret("demo") not in json.dumps(made.body)
    assert container(made)["resources"]["limits"]["memory"]


@pytest.mark.parametrize("task", TASKS)
def test_only_what_reads_the_cluster_gets_its_certificate(task: Task) -> None:
    mounts = {one["mountPath"] for one in container(job(task))["volumeMounts"]}
    assert ("/etc/collectionstore/certificate" in mounts) == (task == "create")
    assert ("/scratch" in mounts) == (task == "drill")


@pytest.mark.parametrize("task", TASKS)
def test_secrets_are_never_in_the_arguments(task: Task) -> None:
    found = container(job(task))
    assert found["envFrom"] == [{"secretRef": {"name": "store"}}]
    assert not {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"} & {one["name"] for one in found["env"]}
    assert all("secret" not in one.lower() for one in found["args"])


def test_nothing_is_expanded_by_the_kubelet() -> None:
    """An option that names a variable would put a credential into the arguments."""
    assert "--option=region=$$(HOME)" in container(job("create"))["args"]


def test_a_run_is_bounded_and_repeated_only_where_that_can_help() -> None:
    spec = job("create").body["spec"]
    assert spec["activeDeadlineSeconds"] == 21_600
    assert "--deadline=21600s" in container(job("create"))["args"]
    (final, disrupted) = spec["podFailurePolicy"]["rules"]
    assert final["onExitCodes"]["values"] == [2, 5, 7, 8, 9]
    assert (final["action"], disrupted["action"]) == ("FailJob", "Ignore")
    assert spec["podReplacementPolicy"] == "Failed"
    assert spec["template"]["spec"]["restartPolicy"] == "Never"


def test_a_run_has_one_number_and_a_time_before_it() -> None:
    created = rfc3339(START)
    assert run_name("u", created) == run_name("u", created)
    assert run_name("u", created) != run_name("v", created)
    since, _, number = run_name("u", created).partition("-")
    assert since == rfc3339(START - SKEW_S).replace("-", "").replace(":", "")
    assert len(number) == 8


def test_every_member_is_an_endpoint_by_a_name_in_its_certificate() -> None:
    environment = {one["name"]: one["value"] for one in container(job("create"))["env"]}
    assert environment["COLLECTIONSTORE_BACKUP_ENDPOINTS"].split() == [
        f"https://demo-{number}.demo-peers.shop.svc:7400" for number in range(3)
    ]


def test_members_are_asked_for_by_their_names_alone() -> None:
    """By their hosts they may show a certificate that the user gives for clients."""
    for made in (job("create"), build_archive(work())):
        assert {"name": "COLLECTIONSTORE_BACKUP_MEMBER_NAMES", "value": "true"} in container(made)["env"]


def test_archive_of_a_recovered_cluster_is_another_one() -> None:
    """It has a new cluster ID: the pod must be replaced. Older images know no such argument of `archive`."""
    before, after = (
        build_archive(work_of_schedule(a_schedule(), CLUSTER.desired, one)) for one in ("demo-1", "demo-2")
    )
    assert before.name == after.name
    assert before.digest != after.digest
    assert {"name": "COLLECTIONSTORE_BACKUP_CLUSTER_ID", "value": "demo-2"} in container(after)["env"]
    assert not any(one.startswith("--cluster-id") for one in container(after)["args"])


def test_prune_and_drill_are_about_this_cluster_alone() -> None:
    pruned = container(job("prune", retention=Retention(keep_last=3, keep_within="2d")))["args"]
    assert {"--source-cluster=demo-1", "--keep-last=3", "--keep-within=2d", "--unfinished-after=2d"} <= set(pruned)
    assert "--source-cluster=demo-1" in container(job("drill"))["args"]


def test_repository_on_a_volume_is_mounted_for_writing() -> None:
    found = job("create", Repository(url="file:///repository/x", claim_name="backups"))
    assert {"name": "repository", "mountPath": "/repository"} in container(found)["volumeMounts"]
    volumes = found.body["spec"]["template"]["spec"]["volumes"]
    assert {"name": "repository", "persistentVolumeClaim": {"claimName": "backups"}} in volumes


def test_objects_go_with_the_resource_that_they_work_for() -> None:
    (owner,) = job("create").body["metadata"]["ownerReferences"]
    assert (owner["kind"], owner["name"], owner["uid"]) == ("CollectionStoreBackup", "one", "u-1")
    scheduled = build_archive(work_of_schedule(a_schedule(repository=FULL), CLUSTER.desired, "demo-1"))
    assert scheduled.body["metadata"]["ownerReferences"][0]["kind"] == "CollectionStoreBackupSchedule"


def test_no_selector_of_members_fits_a_pod_of_a_backup() -> None:
    """Services and the PodDisruptionBudget of the cluster would count it."""
    for made in (job("create"), build_archive(work())):
        found = made.body["spec"]["template"]["metadata"]["labels"]
        assert not labels.selector("demo").items() <= found.items()
        assert names.pod_selector("demo").items() <= found.items()


def test_archive_selects_its_own_pod_alone() -> None:
    selector = build_archive(work()).body["spec"]["selector"]["matchLabels"]
    for task in TASKS:
        assert not selector.items() <= job(task).body["spec"]["template"]["metadata"]["labels"].items()


def test_policies_let_backups_out_to_the_store() -> None:
    """Into the cluster lets that of the cluster: another one would keep all but backups out when it is alone."""
    pods = policy()
    ports = {one["port"] for rule in pods.body["spec"]["egress"] for one in rule["ports"]}
    assert {7400, 53, 443, 9000} <= ports
    assert 988 not in ports, "credentials are given, no role is asked for"
    of_volume = policy(work(Repository(url="file:///repository", claim_name="c")))
    assert {one["port"] for rule in of_volume.body["spec"]["egress"] for one in rule["ports"]} == {7400, 53, 5353}


def test_cluster_without_a_policy_gets_none() -> None:
    spec = Spec(network_policy=NetworkAccess(mode="Disabled"))
    assert build_policy(work(cluster=Desired(name="demo", spec=spec))) is None
    assert build_policy(work(cluster=None)) is None


def test_no_name_is_that_of_an_object_of_another_cluster() -> None:
    long = "a" * names.BACKUP_NAME_MAX
    assert max(len(names.job(long, "0123456789", task)) for task in TASKS) <= 63
    schedule = "a" * names.SCHEDULE_NAME_MAX
    assert len(names.scheduled_backup(schedule, 4e9)) <= names.BACKUP_NAME_MAX
    assert len(names.archive(schedule, "0123456789")) <= 63


@pytest.mark.parametrize("task", TASKS)
def test_the_rate_reaches_what_reads_a_member_and_nothing_else(task: Task) -> None:
    """Also: without a rate, pods are those of a version that did not know it."""
    action = StartRun(task=task, name=f"one-{task}-u1", subject=BACKUP_ID, reason="x")
    name = "COLLECTIONSTORE_BACKUP_MAX_BYTES_PER_SECOND"

    def rates(given: Work) -> list[str]:
        return [one["value"] for one in container(build_job(given, action))["env"] if one["name"] == name]

    limited = msgspec.structs.replace(work(), max_bytes_per_second=5_000_000)
    assert rates(work()) == []
    assert rates(limited) == (["5000000"] if task == "create" else [])
    assert build_archive(limited).digest == build_archive(work()).digest
