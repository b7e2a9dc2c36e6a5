"""One loop per resource: which run, how to wake one, and when each was last round.

Invariants:
- at most one loop runs for a resource, whoever asks for it;
- a loop ends when its resource is gone, and when this process stops; nothing else ends it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import structlog

from collectionstore_operator.kubernetes.api import Kube
from collectionstore_operator.kubernetes.api.event_recorder import Recorder
from collectionstore_operator.kubernetes.runtime import ClusterRuntime
from collectionstore_operator.observability.debugging import LoopReport
from collectionstore_operator.observability.metrics import OperatorMetrics
from collectionstore_operator.observability.tracing.starting import TraceRounds, untraced
from collectionstore_operator.reconcile.loop import Pace, Reconciler, Round
from collectionstore_operator.reconcile.node_client import NodeClient

PACE: Final = Pace(busy_s=1.0, idle_s=15.0, trouble_max_s=30.0)
"""Watch events cut these short; without any, a member that fell silent is noticed after `idle_s`."""

log = structlog.get_logger(__name__)


class Rounds:
    """When a loop last came round, whatever came of it."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._last = clock()

    def started(self) -> None:
        """Count from now on."""
        self._last = self._clock()

    def finished(self, _outcome: Round) -> None:
        """Note the end of a round."""
        self._last = self._clock()

    def silent_s(self) -> float:
        """Return for how long no round has come to an end."""
        return self._clock() - self._last


@dataclass(frozen=True, slots=True, kw_only=True)
class Office:
    """What all loops of this process share while it leads."""

    kube: Kube
    recorder: Recorder
    epoch: int
    may_act: Callable[[], bool]
    """Whether the Lease still is ours; asked before every action, because a process can sleep through its end."""
    metrics: OperatorMetrics
    trace: TraceRounds = untraced


class Cluster:
    """The loop of one resource."""

    def __init__(self, office: Office, *, namespace: str, name: str) -> None:
        self._office = office
        self._namespace = namespace
        self._name = name
        self._lock = asyncio.Lock()
        self._reconciler: Reconciler | None = None
        self._rounds = Rounds()
        self._last: Round | None = None
        self._count = 0

    @property
    def running(self) -> bool:
        """Whether a loop runs for the resource."""
        return self._lock.locked()

    @property
    def silent_s(self) -> float:
        """Return for how long no round has come to an end; 0 while no loop runs."""
        return self._rounds.silent_s() if self.running else 0.0

    def report(self) -> LoopReport:
        """Return what the loop has been doing."""
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
        """Look again soon."""
        if self._reconciler is not None:
            self._reconciler.wake()

    async def run(self) -> None:
        """Run the loop until the resource is gone; waits while another one runs."""
        async with self._lock, NodeClient() as client:
            office = self._office
            runtime = ClusterRuntime(
                office.kube,
                client,
                office.recorder,
                namespace=self._namespace,
                name=self._name,
                epoch=office.epoch,
                may_act=office.may_act,
            )
            self._rounds.started()
            self._reconciler = Reconciler(
                runtime,
                pace=PACE,
                finished=self._finished,
                series=office.metrics.loop(self._namespace, self._name),
                trace=office.trace(self._namespace, self._name),
            )
            try:
                with structlog.contextvars.bound_contextvars(namespace=self._namespace, cluster=self._name):
                    log.info("loop.started", epoch=office.epoch)
                    await self._reconciler.run()
                    log.info("loop.ended", reason="the resource is gone")
            finally:
                self._reconciler = None

    def _finished(self, outcome: Round) -> None:
        self._rounds.finished(outcome)
        self._last = outcome
        self._count += 1


class Clusters:
    """All resources that this operator sees."""

    def __init__(self, office: Office) -> None:
        self._office = office
        self._clusters: dict[tuple[str, str], Cluster] = {}
        self._finishing: set[asyncio.Task[None]] = set()
        office.metrics.show_loops(lambda: sum(one.running for one in self._clusters.values()))

    def cluster(self, namespace: str, name: str) -> Cluster:
        """Return the loop of a resource, which may not run yet."""
        key = (namespace, name)
        if key not in self._clusters:
            self._clusters[key] = Cluster(self._office, namespace=namespace, name=name)
        return self._clusters[key]

    def wake(self, namespace: str, name: str) -> None:
        """Have the loop of a resource look again, if there is one."""
        found = self._clusters.get((namespace, name))
        if found is not None:
            found.wake()

    def finish(self, namespace: str, name: str) -> None:
        """See to a resource that is being deleted: its loop runs on, or again, until it is gone."""
        cluster = self.cluster(namespace, name)
        if not cluster.running:
            task = asyncio.create_task(cluster.run(), name=f"finish {namespace}/{name}")
            self._finishing.add(task)
            task.add_done_callback(self._finishing.discard)
        cluster.wake()

    def forget(self, namespace: str, name: str) -> None:
        """Forget a resource that is gone."""
        found = self._clusters.get((namespace, name))
        if found is not None and not found.running:
            del self._clusters[namespace, name]

    def slowest_s(self) -> float:
        """Return for how long the loop that has been away longest has not finished a round; 0 when none runs."""
        return max((one.silent_s for one in self._clusters.values()), default=0.0)

    def reports(self) -> list[LoopReport]:
        """Return what every loop has been doing, by namespace and name."""
        return [self._clusters[key].report() for key in sorted(self._clusters)]

    async def close(self) -> None:
        """Stop what this registry has started itself."""
        tasks = list(self._finishing)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
