"""The planner's actions, performed on a simulated cluster; each is judged against the truth, not what was shown."""

from __future__ import annotations

from collectionstore_operator.model.actions import (
    Action,
    AddLearners,
    Bootstrap,
    ChangeVoters,
    EnsureWorkload,
    EstablishIdentity,
    IssueCertificate,
    MarkVolume,
    RecordInitialized,
    RecordPlannedWork,
    RemoveLearners,
    RestartPod,
    RetireVolume,
    ScaleWorkload,
    SignRequest,
    TransferLeadership,
)
from collectionstore_operator.model.observed import Certificate, CertificateKind, Configuration, Workload
from collectionstore_operator.tests.simulation.simulated_cluster import EPOCH_S, SimulatedCluster, Unsafe

CLUSTER_ID = "c0ffee"


def execute(cluster: SimulatedCluster, action: Action) -> None:
    """Perform an action, or raise Unsafe when the truth forbids it."""
    match action:
        case EstablishIdentity():
            cluster.cluster_id = CLUSTER_ID
        case RecordInitialized():
            cluster.initialized = True
        case RecordPlannedWork():
            if cluster.planned_work not in (action.was, action.work):
                raise Unsafe(f"{action} was planned from another record")
            cluster.planned_work = action.work
        case ScaleWorkload():
            _scale(cluster, action)
        case IssueCertificate():
            _issue(cluster, action)
        case SignRequest():
            _sign(cluster, action)
        case EnsureWorkload():
            _ensure(cluster, action)
        case Bootstrap():
            _bootstrap(cluster, action)
        case AddLearners():
            _add_learners(cluster, action)
        case ChangeVoters():
            _change_voters(cluster, action)
        case RemoveLearners():
            _remove_learners(cluster, action)
        case TransferLeadership():
            _transfer(cluster, action)
        case RestartPod():
            _restart(cluster, action)
        case MarkVolume():
            cluster.disks[action.ordinal].removed = True
        case RetireVolume():
            _retire(cluster, action)
        case _:
            raise Unsafe(f"there is nothing here that {action} could be about")


def _issue(cluster: SimulatedCluster, action: IssueCertificate) -> None:
    now = EPOCH_S + cluster.time
    cluster.certificates[action.kind.value, action.name] = Certificate(
        kind=action.kind,
        name=action.name,
        not_before=now,
        not_after=now + action.lifetime_s,
        names=action.names,
        authority="key",
    )


def _sign(cluster: SimulatedCluster, action: SignRequest) -> None:
    requests = cluster.requests or {}
    ordinal = next(ordinal for ordinal, one in requests.items() if one.name == action.request)
    pod = cluster.pods.get(ordinal)
    if pod is None or pod.uid != action.uid:
        raise Unsafe(f"{action} is about another pod")
    now = EPOCH_S + cluster.time
    pod.certificate = Certificate(
        kind=CertificateKind.MEMBER, name=action.name, not_before=now, not_after=now + action.lifetime_s
    )
    del requests[ordinal]


def _ensure(cluster: SimulatedCluster, action: EnsureWorkload) -> None:
    held = {cluster.ordinal_of(one) for one in cluster.configuration.members() if cluster.find(one)}
    if cluster.workload is None:
        held &= set(cluster.pods)  # what does not run is not stopped
    if any(ordinal >= action.replicas for ordinal in held) and not cluster.deleting:
        raise Unsafe(f"{action} stops a member")
    if cluster.workload and action.replicas < cluster.workload.replicas and not action.shrinks:
        raise Unsafe(f"{action} shrinks without saying so")
    first = cluster.workload.replicas if cluster.workload else 0
    started = [ordinal for ordinal in range(first, action.replicas) if ordinal not in cluster.pods]
    if any(ordinal in cluster.disks and cluster.disks[ordinal].removed for ordinal in started):
        raise Unsafe(f"{action} starts a pod on the disk of a removed member")
    if cluster.requests is None and not all(
        ("Member", f"{cluster.name}-{ordinal}") in cluster.certificates for ordinal in started
    ):
        raise Unsafe(f"{action} starts a pod without a certificate")
    cluster.workload = Workload(replicas=action.replicas, revision=action.revision)


def _scale(cluster: SimulatedCluster, action: ScaleWorkload) -> None:
    sleep = cluster.planned_work.hibernation
    if sleep is None or not sleep.stopping or cluster.workload is None:
        raise Unsafe(f"{action} before it is recorded that the cluster is to be stopped")
    cluster.workload = Workload(replicas=action.replicas, revision=cluster.workload.revision)


def _bootstrap(cluster: SimulatedCluster, action: Bootstrap) -> None:
    if cluster.bootstraps or any(disk.stored for disk in (*cluster.disks.values(), *cluster.retired)):
        raise Unsafe("a cluster with data is bootstrapped again")
    cluster.bootstrap_node = action.node_id
    cluster.bootstraps += 1
    disk = cluster.disk_of(action.node_id)
    cluster.addresses[action.node_id] = f"{cluster.name}-{action.ordinal}"
    cluster.term = disk.term = disk.stored = cluster.committed = 1
    cluster.leader = action.node_id
    cluster.adopt(Configuration(index=1, voters=(action.node_id,)))
    disk.configuration = cluster.configuration
    # A long log, so that joining takes time.
    disk.stored = cluster.committed = 10_000


def _add_learners(cluster: SimulatedCluster, action: AddLearners) -> None:
    _guard(cluster, action.expected_index)
    for member in action.members:
        if member.node_id in cluster.removed or cluster.disk_of(member.node_id).stored:
            raise Unsafe(f"{member.name} joins with a disk that has a past")
        cluster.addresses[member.node_id] = member.name
    learners = {*cluster.configuration.learners, *(member.node_id for member in action.members)}
    cluster.adopt(_next(cluster, learners=tuple(sorted(learners))))


def _remove_learners(cluster: SimulatedCluster, action: RemoveLearners) -> None:
    _guard(cluster, action.expected_index)
    gone = {member.node_id for member in action.members}
    if gone & set(cluster.configuration.voters):
        raise Unsafe(f"{action} removes a voter")
    cluster.removed |= gone
    cluster.adopt(_next(cluster, learners=tuple(one for one in cluster.configuration.learners if one not in gone)))


def _change_voters(cluster: SimulatedCluster, action: ChangeVoters) -> None:
    _guard(cluster, action.expected_index)
    old, add = cluster.configuration, {member.node_id for member in action.add}
    remove = {member.node_id for member in action.remove}
    if not add <= set(old.learners) or not remove <= set(old.voters):
        raise Unsafe(f"{action} does not fit {old}")
    if cluster.leader in remove and len(old.voters) > 1:
        raise Unsafe("the leader is removed before it handed over")
    voters = tuple(sorted({*old.voters, *add} - remove))
    learners = tuple(one for one in old.learners if one not in add)
    cluster.adopt(Configuration(index=old.index + 1, voters=voters, outgoing=old.voters, learners=learners, joint=True))
    cluster.joint_seen.append(cluster.configuration)
    _check_change(cluster, voters)


def _check_change(cluster: SimulatedCluster, voters: tuple[str, ...]) -> None:
    sound = {one for one in cluster.alive() if cluster.stored(one) >= cluster.committed - 1_000}
    if not cluster.quorate(sound):
        raise Unsafe("the joint configuration has no quorum of voters that are alive and have caught up")
    if len(voters) % 2 == 0:
        raise Unsafe(f"an even number of voters: {voters}")


def _transfer(cluster: SimulatedCluster, action: TransferLeadership) -> None:
    if action.to.node_id not in cluster.configuration.voters or action.to.node_id not in cluster.alive():
        raise Unsafe(f"{action} transfers leadership to no member")
    if cluster.random.random() < 0.8 and cluster.stored(action.to.node_id) >= cluster.committed:
        cluster.leader = action.to.node_id
        cluster.term += 1


def _restart(cluster: SimulatedCluster, action: RestartPod) -> None:
    pod, node_id = cluster.pods[action.ordinal], cluster.disks[action.ordinal].node_id
    if pod.uid != action.uid:
        raise Unsafe(f"{action} is about another pod")
    before, voters = cluster.alive(), len(cluster.configuration.voters)
    if voters > 2 and cluster.quorate(before) and not cluster.quorate(before - {node_id}):
        raise Unsafe(f"{action} costs the quorum")
    del cluster.pods[action.ordinal]


def _retire(cluster: SimulatedCluster, action: RetireVolume) -> None:
    disk, pod = cluster.disks[action.ordinal], cluster.pods.get(action.ordinal)
    if pod is not None and pod.uid != action.uid:
        raise Unsafe(f"{action} is about another pod")
    if action.node_id and disk.node_id and action.node_id != disk.node_id:
        raise Unsafe(f"{action} is about another disk")
    alive = cluster.alive()
    if cluster.quorate(alive) and not cluster.quorate(alive - {disk.node_id}):
        raise Unsafe(f"{action} costs the quorum")
    if not cluster.data_survives(without=disk.node_id):
        raise Unsafe(f"{action} costs committed data")
    cluster.pods.pop(action.ordinal, None)
    cluster.retired.append(cluster.disks.pop(action.ordinal))


def _next(cluster: SimulatedCluster, *, learners: tuple[str, ...]) -> Configuration:
    return Configuration(index=cluster.configuration.index + 1, voters=cluster.configuration.voters, learners=learners)


def _guard(cluster: SimulatedCluster, expected_index: int) -> None:
    if expected_index != cluster.configuration.index or cluster.configuration.joint or not cluster.leader:
        raise Unsafe(f"planned against configuration {expected_index}, it is {cluster.configuration}")
