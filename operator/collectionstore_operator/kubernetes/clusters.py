"""One loop per resource: which run, how to wake one, and when each last made progress.

Invariants:
- at most one loop runs for a resource, whether a daemon or a deletion started it;
- a loop ends when its resource is gone, or when this process stops; nothing else ends it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

import structlog

from collectionstore_operator.kubernetes.api import Kube
from collectionstore_operator.kubernetes.api.event_recorder import Recorder
from collectionstore_operator.kubernetes.caches.caches import Caches
from collectionstore_operator.kubernetes.caches.reads import Reads
from collectionstore_operator.kubernetes.enrolment import Enrolment
from collectionstore_operator.kubernetes.runtime import ClusterRuntime
from collectionstore_operator.kubernetes.turns import Rounds, Turns
from collectionstore_operator.observability.debugging import LoopReport
from collectionstore_operator.observability.metrics import OperatorMetrics
from collectionstore_operator.observability.tracing.starting import TraceRounds, untraced
from collectionstore_operator.reconcile.loop import Pace, Reconciler, Round
from collectionstore_operator.reconcile.node_client import NodeClient

PACE: Final = Pace(busy_s=1.0, idle_s=15.0, backoff_max_s=30.0)
"""Watch events cut these short; a member that stops responding without any is noticed after `idle_s`."""

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaderContext:
    """What all loops of this process share while it is the leader."""

    kube: Kube
    recorder: Recorder
    epoch: int
    """Of the Lease of this installation."""
    holder: str
    """Names this installation in the Leases of clusters: namespace and name of its own Lease."""
    may_act: Callable[[], bool]
    """Whether the Lease is still ours; checked before every action, because a process can be suspended past its end."""
    metrics: OperatorMetrics
    enrolment: Enrolment
    trace: TraceRounds = untraced
    turns: Turns = field(default_factory=Turns)
    caches: Caches | None = None
    """Without them every round reads the newest state."""


class Cluster:
    """The loop of one resource."""

    def __init__(self, context: LeaderContext, *, namespace: str, name: str) -> None:
        self._context = context
        self._namespace = namespace
        self._name = name
        self._lock = asyncio.Lock()
        self._reconciler: Reconciler | None = None
        self._rounds = Rounds(context.turns)
        self._last: Round | None = None
        self._count = 0

    @property
    def running(self) -> bool:
        """Whether a loop runs for the resource."""
        return self._lock.locked()

    @property
    def silent_s(self) -> float:
        """Return the seconds since the loop last made progress, see `Rounds.silent_s`; 0 while no loop runs."""
        return self._rounds.silent_s() if self.running else 0.0

    def report(self) -> LoopReport:
        """Return the state of the loop for the debug page."""
        last = self._last
        return LoopReport(
            namespace=self._namespace,
            name=self._name,
            running=self.running,
            silent_s=round(self.silent_s, 1),
            rounds=self._count,
            last_result=last.result if last else None,
            last_trouble=last.trouble if last else None,
            last_actions=last.actions if last else None,
            last_s=round(last.seconds, 3) if last else None,
        )

    def wake(self) -> None:
        """Start the next round soon."""
        if self._reconciler is not None:
            self._reconciler.wake()

    async def run(self) -> None:
        """Run the loop until the resource is gone; waits while another task runs it."""
        async with self._lock, NodeClient() as client:
            context = self._context
            runtime = ClusterRuntime(
                context.kube,
                client,
                context.recorder,
                namespace=self._namespace,
                name=self._name,
                holder=context.holder,
                may_act=context.may_act,
                enrolment=context.enrolment,
                reads=Reads(context.kube, context.caches),
            )
            self._rounds.started()
            self._reconciler = Reconciler(
                runtime,
                pace=PACE,
                finished=self._finished,
                series=context.metrics.loop(self._namespace, self._name),
                trace=context.trace(self._namespace, self._name),
                source=runtime.reads,
                turns=self._rounds,
            )
            try:
                with structlog.contextvars.bound_contextvars(namespace=self._namespace, cluster=self._name):
                    log.info("loop.started", epoch=context.epoch)
                    await self._reconciler.run()
                    log.info("loop.ended", reason="the resource is gone")
            finally:
                self._reconciler = None

    def _finished(self, outcome: Round) -> None:
        self._rounds.finished(outcome)
        self._last = outcome
        self._count += 1


class Clusters:
    """The loops of all resources that this operator watches."""

    def __init__(self, context: LeaderContext) -> None:
        self._context = context
        self._clusters: dict[tuple[str, str], Cluster] = {}
        self._started: set[asyncio.Task[None]] = set()
        self._arrived: dict[tuple[str, str], str] = {}
        context.metrics.show_loops(lambda: sum(one.running for one in self._clusters.values()))

    def cluster(self, namespace: str, name: str) -> Cluster:
        """Return the loop of a resource; it may not be running."""
        key = (namespace, name)
        if key not in self._clusters:
            self._clusters[key] = Cluster(self._context, namespace=namespace, name=name)
        return self._clusters[key]

    def wake(self, namespace: str, name: str) -> None:
        """Wake the loop of a resource, if there is one."""
        found = self._clusters.get((namespace, name))
        if found is not None:
            found.wake()

    def ensure(self, namespace: str, name: str) -> None:
        """Ensure that a loop runs for a resource, also one that kopf starts no daemon for."""
        cluster = self.cluster(namespace, name)
        if not cluster.running:
            task = asyncio.create_task(cluster.run(), name=f"loop {namespace}/{name}")
            self._started.add(task)
            task.add_done_callback(self._started.discard)

    def finish(self, namespace: str, name: str) -> None:
        """Ensure that a loop runs for a resource being deleted, until it is deleted."""
        self.ensure(namespace, name)
        self.wake(namespace, name)

    def arrive(self, namespace: str, name: str, version: str) -> None:
        """Remember the version of a resource that an event has announced."""
        self._arrived[namespace, name] = version

    def arrived(self, namespace: str, name: str) -> str:
        """Return the version that an event has announced last; empty before the first."""
        return self._arrived.get((namespace, name), "")

    def forget(self, namespace: str, name: str) -> None:
        """Drop the loop of a resource that is gone."""
        self._arrived.pop((namespace, name), None)
        found = self._clusters.get((namespace, name))
        if found is not None and not found.running:
            del self._clusters[namespace, name]

    def slowest_s(self) -> float:
        """Return for how many seconds the slowest loop has made no progress; 0 when none runs."""
        return max((one.silent_s for one in self._clusters.values()), default=0.0)

    def reports(self) -> list[LoopReport]:
        """Return the state of every loop, by namespace and name."""
        return [self._clusters[key].report() for key in sorted(self._clusters)]

    async def close(self) -> None:
        """Cancel the loops that were started here; kopf stops its daemons itself."""
        tasks = list(self._started)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
