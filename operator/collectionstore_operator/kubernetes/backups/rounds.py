"""One round of a backup or of a schedule: read, assess, publish the status, act. The same for both kinds.

BEFORE the actions the status is published: what has ended is remembered there, and the next action may remove what said
so. A round that is interrupted anywhere is done again from what is there.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Generic, Protocol

import msgspec
import structlog

from collectionstore_operator import faults
from collectionstore_operator.errors import ActionRefused, ActionUnfinished, InvalidResource
from collectionstore_operator.kubernetes.api import Body, Kind, Kube, NotFound
from collectionstore_operator.kubernetes.api.event_recorder import Recorder
from collectionstore_operator.kubernetes.backups.executor import Executor
from collectionstore_operator.model.backups.actions import AdmitBackups
from collectionstore_operator.planning.backups.pace import BUSY_S, IDLE_S
from collectionstore_operator.reconcile.backup_decisions import Decision, S
from collectionstore_operator.resource.desired import Desired
from collectionstore_operator.status.events import Event

log = structlog.get_logger(__name__)


class Kinds(Protocol[S]):
    """What one kind brings."""

    kind: Kind

    async def decide(self, body: Body, now: float) -> Decision[S]:
        """Return what the status is to be and what is to be done. Raises InvalidResource and ApiError."""

    def refuse(self, body: Body, message: str, generation: int, now: float) -> S:
        """Return the status of a resource whose spec is invalid."""


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What came of a round."""

    gone: bool = False
    """The resource does not exist any more."""
    done: bool = False
    """There will be nothing to do unless the resource changes."""
    wait_s: float = IDLE_S


class Rounds(Generic[S]):
    """The rounds of one resource."""

    def __init__(
        self,
        kinds: Kinds[S],
        kube: Kube,
        recorder: Recorder,
        *,
        namespace: str,
        name: str,
        may_act: Callable[[], bool],
        reported: Callable[[Decision[S]], None] = lambda _decision: None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """`reported` is called with every decision, for the metrics."""
        self._kinds = kinds
        self._kube = kube
        self._recorder = recorder
        self._namespace = namespace
        self._name = name
        self._executor = Executor(kube, may_act)
        self._may_act = may_act
        self._reported = reported
        self._clock = clock

    async def once(self) -> Outcome:
        """Run one round. Raises ApiError."""
        body = await self._kube.find(self._kinds.kind, self._name, self._namespace)
        if body is None:
            return Outcome(gone=True)
        if not self._may_act():
            return Outcome(wait_s=BUSY_S)  # another process leads: it writes the status
        now = self._clock()
        try:
            decision = await self._kinds.decide(body, now)
        except InvalidResource as error:
            await self._publish(body, self._kinds.refuse(body, str(error), error.generation, now), None)
            return Outcome(done=True)
        faults.reach("BackupRound.observed")
        if decision.status is not None:
            await self._publish(body, decision.status, decision.cluster)
        self._reported(decision)
        faults.reach("BackupRound.published")
        if decision.plan is None or decision.work is None:
            return Outcome(done=decision.plan_done)
        for action in decision.plan.actions:
            name = type(action).__name__
            try:
                await self._executor.execute(action, decision.work, decision.schedule)
            except (ActionRefused, ActionUnfinished) as error:
                log.warning("backup_action.failed", action=name, subject=decision.subject, detail=str(error))
                await self._tell(decision.cluster, "Warning", f"{name}Failed", decision.subject, str(error))
                return Outcome(wait_s=BUSY_S)
            log.info("backup_action.performed", action=name, subject=decision.subject, reason=action.reason)
            if not isinstance(action, AdmitBackups):
                await self._tell(decision.cluster, "Normal", name, decision.subject, action.reason)
        return Outcome(done=decision.plan.done, wait_s=decision.plan.wait_s)

    async def _publish(self, body: Body, status: S, cluster: Desired | None) -> None:
        made = msgspec.json.decode(msgspec.json.encode(status))  # with lists, as the API server has them
        if made == body.get("status"):
            return
        patch = {"metadata": {"uid": body["metadata"]["uid"]}, "status": made}
        try:
            await self._kube.patch(self._kinds.kind, self._name, self._namespace, patch, subresource="status")
        except NotFound:
            return
        before = {one.get("type"): one.get("status") for one in (body.get("status") or {}).get("conditions") or ()}
        for one in status.conditions:
            if one.status == "True" and one.type == "Failed" and before.get("Failed") != "True":
                log.warning("backup.failed", subject=self._name, reason=one.reason, detail=one.message)
                await self._tell(cluster, "Warning", "BackupFailed", self._name, f"{one.reason}: {one.message}")
            if one.status == "True" and one.type == "Complete" and before.get("Complete") != "True":
                log.info("backup.completed", subject=self._name, detail=one.message)
                await self._tell(cluster, "Normal", "BackupComplete", self._name, one.message)

    async def _tell(self, cluster: Desired | None, kind: str, reason: str, subject: str, message: str) -> None:
        """Record an Event about the cluster: what happens to its backups is seen where its members are."""
        if cluster is not None:
            event = Event(
                time=self._clock(),
                kind="Warning" if kind == "Warning" else "Normal",
                reason=reason,
                subject=subject,
                message=message,
            )
            await self._recorder.record(event, cluster)
