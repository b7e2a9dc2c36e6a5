"""Records Events: one object per occurrence, and a series with a count while the same one repeats."""

from __future__ import annotations

import secrets
from collections import OrderedDict
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

import structlog

from collectionstore_operator.kubernetes.api.api_errors import ApiError, NotFound
from collectionstore_operator.kubernetes.api.client import Kube
from collectionstore_operator.kubernetes.api.kinds import Body, Kind
from collectionstore_operator.resource import labels
from collectionstore_operator.resource.desired import Desired
from collectionstore_operator.status.events import Event

CONTROLLER: Final = f"{labels.GROUP}/operator"
NOTE_MAX: Final = 1_024
WORD_MAX: Final = 128
SERIES_S: Final = 360.0
"""A repetition after a longer pause is a new Event, as in client-go."""
REMEMBERED_MAX: Final = 256

log = structlog.get_logger(__name__)


@dataclass(slots=True)
class _Series:
    name: str
    count: int
    last: float


class Recorder:
    """Writes Events about resources. One that cannot be written is logged and dropped: Events are best effort."""

    def __init__(self, kube: Kube, instance: str) -> None:
        """`instance` is the name of this operator's pod."""
        self._kube = kube
        self._instance = instance[:WORD_MAX]
        self._known: OrderedDict[tuple[str, ...], _Series] = OrderedDict()

    async def record(self, event: Event, desired: Desired) -> None:
        """Write an event, or increase the count of its series if the same one was written recently."""
        note = f"{event.subject}: {event.message}" if event.subject else event.message
        key = (desired.uid, event.kind, event.reason, note)
        series = self._known.get(key)
        try:
            if series is not None and event.time - series.last <= SERIES_S:
                await self._count(key, series, event, desired)
            else:
                await self._create(key, event, note, desired)
        except ApiError as error:
            log.warning("event.not_written", reason=event.reason, note=note, error=str(error))

    async def _create(self, key: tuple[str, ...], event: Event, note: str, desired: Desired) -> None:
        name = f"{desired.name}.{secrets.token_hex(8)}"
        await self._kube.create(self._body(name, event, note, desired))
        self._known[key] = _Series(name, 1, event.time)
        self._known.move_to_end(key)
        if len(self._known) > REMEMBERED_MAX:
            self._known.popitem(last=False)

    async def _count(self, key: tuple[str, ...], series: _Series, event: Event, desired: Desired) -> None:
        series.count, series.last = series.count + 1, event.time
        body: Body = {"series": {"count": series.count, "lastObservedTime": _moment(event.time)}}
        try:
            await self._kube.patch(Kind.EVENT, series.name, desired.namespace, body)
        except NotFound:
            del self._known[key]  # Events expire after an hour (--event-ttl): the next one is created again

    def _body(self, name: str, event: Event, note: str, desired: Desired) -> Body:
        return {
            "apiVersion": Kind.EVENT.api_version,
            "kind": "Event",
            "metadata": {"name": name, "namespace": desired.namespace},
            "eventTime": _moment(event.time),
            "type": event.kind,
            "reason": event.reason[:WORD_MAX],
            "action": event.reason[:WORD_MAX],
            "note": note if len(note) <= NOTE_MAX else note[: NOTE_MAX - 3] + "...",
            "reportingController": CONTROLLER,
            "reportingInstance": self._instance,
            "regarding": {
                "apiVersion": labels.API_VERSION,
                "kind": labels.KIND,
                "name": desired.name,
                "namespace": desired.namespace,
                "uid": desired.uid,
            },
        }


def _moment(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
