"""One round of a user or a role: read, assess, publish the status, act. The same for both kinds.

The status is published BEFORE the actions, and after them the next round follows at once: what was done is told as soon
as it was seen. Why the last action failed is told as long as it is to be done again.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Generic, Protocol, TypeVar

import msgspec
import structlog

from collectionstore_operator import faults
from collectionstore_operator.errors import ActionRefused, ActionUnfinished, InvalidResource
from collectionstore_operator.kubernetes.access.connections import Connection
from collectionstore_operator.kubernetes.access.executor import Executor
from collectionstore_operator.kubernetes.api import Body, Kind, Kube, NotFound
from collectionstore_operator.kubernetes.api.event_recorder import Recorder
from collectionstore_operator.kubernetes.backups.rounds import Outcome
from collectionstore_operator.model.access.actions import AccessPlan, HoldAccess, RevokeToken
from collectionstore_operator.model.observed import Unknown
from collectionstore_operator.planning.backups.pace import BUSY_S, EARLIEST_S
from collectionstore_operator.resource.access.desired import Role, User
from collectionstore_operator.resource.desired import Desired
from collectionstore_operator.status.backups.fields import StatusPart
from collectionstore_operator.status.events import Event

S = TypeVar("S", bound=StatusPart)

log = structlog.get_logger(__name__)


class Decision(msgspec.Struct, Generic[S], kw_only=True):
    """What a round has decided."""

    status: S
    plan: AccessPlan
    resource: User | Role
    cluster: Desired | None
    connection: Connection | Unknown


class Kinds(Protocol[S]):
    """What one kind brings."""

    kind: Kind

    def decide(self, body: Body, now: float, failure: str) -> AbstractAsyncContextManager[Decision[S]]:
        """Return a context with what the status is to be and what is to be done.

        `failure` is why the last action failed; empty if none did. Raises InvalidResource.
        """

    def refuse(self, body: Body, message: str, generation: int, now: float) -> S:
        """Return the status of a resource whose spec is invalid."""


class AccessRounds(Generic[S]):
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
        self._failure = ""

    async def once(self) -> Outcome:
        """Run one round. Raises ApiError."""
        body = await self._kube.find(self._kinds.kind, self._name, self._namespace)
        if body is None:
            return Outcome(gone=True)
        if not self._may_act():
            return Outcome(wait_s=BUSY_S)  # another process leads: it writes the status
        now = self._clock()
        try:
            deciding = self._kinds.decide(body, now, self._failure)
        except InvalidResource as error:
            await self._publish(body, self._kinds.refuse(body, str(error), error.generation, now), None)
            return Outcome(done=True)
        async with deciding as decision:
            faults.reach("AccessRound.observed")
            await self._publish(body, decision.status, decision.cluster)
            self._reported(decision)
            faults.reach("AccessRound.published")
            return await self._act(decision)

    async def _act(self, decision: Decision[S]) -> Outcome:
        for action in decision.plan.actions:
            name = type(action).__name__
            try:
                await self._executor.execute(action, decision.resource, decision.connection)
            except (ActionRefused, ActionUnfinished) as error:
                log.warning("access_action.failed", action=name, subject=self._name, detail=str(error))
                if str(error) != self._failure:
                    await self._tell(decision.cluster, "Warning", f"{name}Failed", str(error))
                self._failure = f"{name}: {error}"
                return Outcome(wait_s=BUSY_S)
            subject = action.id if isinstance(action, RevokeToken) else self._name
            log.info("access_action.performed", action=name, subject=subject, reason=action.reason)
            if not isinstance(action, HoldAccess):
                await self._tell(decision.cluster, "Normal", name, action.reason)
        self._failure = ""
        # What was done is told at once.
        wait_s = EARLIEST_S if decision.plan.actions else decision.plan.wait_s
        return Outcome(done=decision.plan.done, wait_s=wait_s)

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
            # Of changes alone: a new resource is told of by what is done for it.
            if one.status != before.get(one.type, one.status):
                good = one.status == "True"
                message = f"{one.reason}: {one.message}"
                await self._tell(cluster, "Normal" if good else "Warning", f"{one.type}{one.status}", message)

    async def _tell(self, cluster: Desired | None, kind: str, reason: str, message: str) -> None:
        """Record an Event about the cluster: what happens to its users is seen where its members are."""
        if cluster is not None:
            event = Event(
                time=self._clock(),
                kind="Warning" if kind == "Warning" else "Normal",
                reason=reason,
                subject=f"{self._kinds.kind.plural}/{self._name}",
                message=message,
            )
            await self._recorder.record(event, cluster)
