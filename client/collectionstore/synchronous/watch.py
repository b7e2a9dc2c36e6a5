# Generated from ../asynchronous by client/generate_sync.py: change it there.
"""`Watch`: the changes of a collection, a bucket or of everything, over lost connections, each once."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any, Generic, Self, TypeAlias, TypeVar

from collectionstore.errors import ClientClosed, InvalidArgument
from collectionstore.models.documents import DocumentType
from collectionstore.models.json_text import filter_text
from collectionstore.models.queries import Projection, projection_body, without_none
from collectionstore.models.results import ChangeEvent
from collectionstore.runtime.watching import OnGap, WatchItem
from collectionstore.synchronous.context import Context

T = TypeVar("T")

Start: TypeAlias = str | int
"""`now`, `snapshot`, a revision, or a token."""


class Watch(Generic[T]):
    """An endless iteration over events; it ends when the collection is dropped. Use it as a context manager.

    It begins with the block, or with the first event that is asked for: with `start="now"` it tells what is changed
    behind that. `token` is where to go on, also for another program. Raises HistoryLost when changes are not kept any
    more (unless `on_gap="resync"`), and ConnectionFailure when no member can be reached for a minute.
    """

    def __init__(
        self,
        context: Context,
        target: Mapping[str, str],
        documents: DocumentType[T],
        *,
        filter_: Mapping[str, Any] | None = None,
        operations: Sequence[str] | None = None,
        projection: Projection = None,
        before: bool = False,
        start: Start = "now",
        consumer: str | None = None,
        on_gap: OnGap = "raise",
    ) -> None:
        if isinstance(filter_, list | tuple):
            raise InvalidArgument("a watch takes a filter of documents, not a pipeline")
        if on_gap not in ("raise", "resync"):
            raise InvalidArgument("on_gap must be raise or resync")
        if isinstance(start, bool) or not isinstance(start, str | int) or start in ("", -1):
            raise InvalidArgument("start must be now, snapshot, a revision, or the token of an event")
        if isinstance(operations, str):
            raise InvalidArgument("operations is a list, such as insert and delete")
        wanted = without_none(
            filter=filter_text(filter_) or None,
            ops=None if operations is None else list(operations),
            fields=projection_body(projection),
            before=before or None,
        )
        self._context = context
        self._documents = documents
        self._consumed = {**target, **wanted}
        if consumer is not None:
            if wanted or start != "now":
                raise InvalidArgument("what a consumer watches, and from where, is said when it is made")
            self._body: dict[str, Any] = {"consumer": consumer}
        else:
            self._body = {**self._consumed, "from": start}
        self._on_gap: OnGap = on_gap
        self._feed: Any = None
        self._closed = False

    @property
    def token(self) -> str | None:
        """Where to go on behind the last event that was taken; None before the watch has begun."""
        token: str | None = None if self._feed is None else self._feed.token
        return token

    def next(self) -> ChangeEvent[T] | None:
        """Return the next event, waiting for it; None behind the end."""
        self._begin()
        item = self._feed.next()
        return None if item is None else self._event(item)

    def close(self) -> None:
        """End the watch. Closing again does nothing."""
        self._closed = True
        if self._feed is not None:
            self._feed.close()

    def _begin(self) -> None:
        if self._closed:
            raise ClientClosed("the watch was closed")
        if self._feed is None:
            self._feed = self._context.runtime.open_watch(self._body, self._on_gap, self._consumed)

    def _event(self, item: WatchItem) -> ChangeEvent[T]:
        document = before = None
        if item.id is not None:
            if len(bytes(item.document)):
                document = self._documents.decode(item.id, item.revision, item.document)
            if len(bytes(item.before)):
                before = self._documents.decode(item.id, 0, item.before)
        return ChangeEvent(
            kind=item.event,
            token=item.token,
            revision=item.revision,
            operation=item.op,
            collection=item.collection,
            id=item.id,
            document=document,
            before=before,
            bucket=item.bucket,
            key=item.key,
            value=None if item.value is None else base64.b64decode(item.value),
            content_type=item.content_type,
            left=item.left,
            last=item.last,
            position=item.position,
            index=item.index,
        )

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> ChangeEvent[T]:
        event = self.next()
        if event is None:
            raise StopIteration
        return event

    def __enter__(self) -> Self:
        self._begin()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
