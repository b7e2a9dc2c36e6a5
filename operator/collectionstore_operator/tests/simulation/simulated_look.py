"""What an observer sees of a simulated cluster, and what it fails to see."""

from __future__ import annotations

from typing import Final

from collectionstore_operator.model.observed import (
    ABSENT,
    Absent,
    Certificate,
    Failure,
    Leader,
    Member,
    NodeStatus,
    Observed,
    Pod,
    Slot,
    Unknown,
    Volume,
    Workload,
)
from collectionstore_operator.reconcile.observe import has_data
from collectionstore_operator.tests.simulation.simulated_cluster import EPOCH_S, Disk, Process, SimulatedCluster

UNSEEN: Final = Unknown("no answer in time")


def observe(cluster: SimulatedCluster, unknown: float = 0.0) -> Observed:
    """Observe everything; each response is Unknown with that probability."""
    lost = [cluster.random.random() < unknown for _ in range(4 * 16)]
    ordinals = sorted(set(cluster.pods) | set(cluster.disks))
    slots = tuple(_slot(cluster, ordinal, lost[4 * n : 4 * n + 3]) for n, ordinal in enumerate(ordinals))
    workload: Workload | Absent | Unknown = cluster.workload or ABSENT
    return Observed(
        now=EPOCH_S + cluster.time,
        cluster_id=cluster.cluster_id,
        initialized=has_data((slot.node for slot in slots), recorded=cluster.initialized),
        initialized_recorded=cluster.initialized,
        bootstrap_node=cluster.bootstrap_node,
        planned_work=cluster.planned_work,
        epoch=1,
        workload=UNSEEN if lost[-1] else workload,
        slots=slots,
        certificates=(*cluster.certificates.values(), *_presented(cluster)),
        requests=None if cluster.requests is None else tuple(cluster.requests.values()),
    )


def _presented(cluster: SimulatedCluster) -> list[Certificate]:
    """Return the certificates of the nodes that run: what they present when they are asked."""
    return [pod.certificate for pod in cluster.pods.values() if pod.running and pod.certificate is not None]


def _slot(cluster: SimulatedCluster, ordinal: int, lost: list[bool]) -> Slot:
    pod, disk = cluster.pods.get(ordinal), cluster.disks.get(ordinal)
    return Slot(
        ordinal=ordinal,
        pod=UNSEEN if lost[0] else _seen_pod(cluster, ordinal, pod) if pod else ABSENT,
        node=seen_node(cluster, ordinal) if pod and pod.running and not lost[1] else UNSEEN,
        volume=UNSEEN if lost[2] else _seen_volume(disk) if disk else ABSENT,
    )


def _seen_pod(cluster: SimulatedCluster, ordinal: int, pod: Process) -> Pod:
    return Pod(
        uid=pod.uid,
        running=pod.running,
        ready=pod.ready,
        revision=pod.revision,
        unready_s=0.0 if pod.ready else float(cluster.time - pod.unready_since),
        failure=pod.failure,
        replace_requested=pod.replace_requested,
        detail=pod.failure.value if pod.failure is not Failure.NONE else "",
        peer_address=f"{cluster.name}-{ordinal}:7401",
        http_address=f"http://{cluster.name}-{ordinal}:7400",
    )


def _seen_volume(disk: Disk) -> Volume:
    return Volume(name=disk.name, node_id=disk.node_id or ABSENT, removed=disk.removed)


def seen_node(cluster: SimulatedCluster, ordinal: int, *, epoch: int = 1) -> NodeStatus:
    """Return a node's own status."""
    disk = cluster.disks[ordinal]
    leads = disk.node_id == cluster.leader
    member = disk.node_id in disk.configuration.members()
    fresh = disk.term == 0 and disk.stored == 0
    return NodeStatus(
        cluster_id=cluster.cluster_id,
        node_id=disk.node_id,
        name=f"{cluster.name}-{ordinal}",
        version="0.1.0",
        state="Member" if member else "Uninitialized" if fresh else "Joining",
        role="Leader" if leads else "Follower",
        term=disk.term,
        commit_index=cluster.committed if leads else 0,
        last_index=disk.stored,
        uptime_s=float(cluster.time - cluster.pods[ordinal].running_since),
        epoch=epoch if disk.term else 0,
        configuration=disk.configuration,
        leader=Leader(cluster.leader) if cluster.leader else None,
        members=tuple(_seen_member(cluster, one) for one in sorted(cluster.configuration.members())) if leads else (),
    )


def _seen_member(cluster: SimulatedCluster, node_id: str) -> Member:
    disk, alive = cluster.find(node_id), node_id in cluster.alive()
    stored = disk.stored if disk else 0
    ordinal = cluster.ordinal_of(node_id) if disk else -1
    heard = cluster.pods[ordinal].last_heard if ordinal in cluster.pods else 0
    return Member(
        node_id=node_id,
        name=cluster.addresses[node_id],
        match_index=stored,
        lag=max(0, cluster.committed - stored),
        active=alive,
        silent_ms=0 if alive else 1_000.0 * max(3, cluster.time - heard),
    )
