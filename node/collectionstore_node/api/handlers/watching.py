"""What a request for changes asks for, wherever it stands: in a URL, in a body, in a stream, in a consumer's record."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any, Final

import msgspec
import orjson

from collectionstore_node.api.budgets.clients import Client
from collectionstore_node.api.handlers.queries import checked_by
from collectionstore_node.api.http.names import bucket_name, collection_name, consumer_name
from collectionstore_node.api.http.problems import Problem
from collectionstore_node.changes import OPS, REVISION_MAX, STORE, Position, Scope, Selection, Tokens
from collectionstore_node.documents.projection import parse_projection
from collectionstore_node.errors import HistoryGone, InvalidPart
from collectionstore_node.ports import LOOPBACK
from collectionstore_node.query.scanning import Asked
from collectionstore_node.service import ReadConsistency, Store
from collectionstore_node.service.operations import ReadConsumers, Start, WatchChanges
from collectionstore_node.service.queries import parse_find
from collectionstore_node.service.watches import Watch

_REVISION: Final = re.compile(r"[0-9]{1,19}")
_OPS: Final = frozenset(OPS.values())


class Watching(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The body of a watch: a filter, kinds of changes, a projection, images before, and where it begins."""

    filter: dict[str, Any] | None = None
    ops: list[str] | None = None
    fields: dict[str, Any] | None = None
    before: bool = False
    from_: int | str | None = msgspec.field(default=None, name="from")
    """None for `now`."""


class ScopedWatching(Watching, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The same with what is watched: a collection, a bucket, or without both everything."""

    collection: str | None = None
    bucket: str | None = None

    @property
    def scope(self) -> Scope:
        """What is watched. Raises `Problem`."""
        if self.collection is not None and self.bucket is not None:
            raise Problem("invalid_body", "it is of a collection, of a bucket, or of the store, and not of two of them")
        if self.collection is not None:
            return Scope("collection", collection_name(self.collection))
        return STORE if self.bucket is None else Scope("bucket", bucket_name(self.bucket))


def position_of(tokens: Tokens, given: int | str | None) -> Start | Position:
    """Return where a watch begins. Raises `Problem`, or `InvalidRequest` for a token that is none of this cluster."""
    if given is None:
        return Start.NOW
    if isinstance(given, int):
        revision = given
    elif _REVISION.fullmatch(given):
        revision = int(given)
    elif given in (Start.NOW.value, Start.SNAPSHOT.value):
        return Start(given)
    else:
        return tokens.decode(given)
    if not 0 <= revision <= REVISION_MAX:
        raise Problem("invalid_parameter", "from is now, snapshot, a token, or a revision of the store")
    return Position(revision)


def parse_ops(given: Sequence[str] | None) -> frozenset[str] | None:
    """Return the kinds of changes that are asked for. Raises `InvalidPart`."""
    if given is None:
        return None
    for at, name in enumerate(given):
        if name not in _OPS:
            raise InvalidPart("invalid_body", f"/ops/{at}", f"the kinds of changes are {', '.join(sorted(_OPS))}")
    return frozenset(given)


def asked_for(body: Watching) -> bytes:
    """Return what a consumer keeps of a request: JSON, the same for requests that ask for the same."""
    asked: dict[str, Any] = {}
    if body.filter:
        asked["filter"] = body.filter
    if body.ops is not None:
        asked["ops"] = sorted({*body.ops})
    if body.fields is not None:
        asked["fields"] = body.fields
    if body.before:
        asked["before"] = True
    return orjson.dumps(asked, option=orjson.OPT_SORT_KEYS)


async def selected(store: Store, scope: Scope, body: Watching, *, timeout_s: float) -> Selection:
    """Return what is watched. Raises `Problem` or `InvalidPart`."""
    if scope.kind == "bucket" and (body.filter is not None or body.fields is not None):
        raise Problem("invalid_body", "filters and fields are of documents; raw values have none")
    asked: Asked | None = None
    if body.filter:
        asked = await checked_by(store, body.filter, lambda: parse_find(body.filter).asked, timeout_s=timeout_s)
    project = None if body.fields is None else parse_projection(body.fields, "/fields")
    return Selection(scope, asked, parse_ops(body.ops), body.before, project)


async def consumed(
    store: Store, scope: Scope, name: str, body: Watching, *, consistency: ReadConsistency, timeout_s: float
) -> tuple[Selection, Position]:
    """Return what a consumer asks for and its place; `body` is what stands beside its name. Raises `Problem`."""
    if body.from_ is not None or asked_for(body) != b"{}":
        raise Problem("invalid_parameter", "a consumer says itself what it asks for and where it goes on")
    found = await store.consumers.read(ReadConsumers(consumer_name(name)), consistency=consistency, timeout_s=timeout_s)
    (facts,) = found.consumers
    own = Scope(facts.record.kind, facts.record.scope)
    if scope not in (STORE, own):
        raise Problem("invalid_parameter", f"the consumer is of another {own.kind}: watch that, or /api/v1/:watch")
    kept = msgspec.json.decode(facts.record.request, type=Watching)
    return await selected(store, own, kept, timeout_s=timeout_s), facts.position


async def open_watch(
    store: Store,
    request: WatchChanges,
    client: Client | None,
    gone: Callable[[], bool],
    *,
    consistency: ReadConsistency,
    timeout_s: float,
    once: bool = False,
) -> Watch:
    """Open a watch for a client. Raises `Problem` where its history is not kept, and what `Watches.open` does."""
    watches = store.watches
    if request.start is Start.SNAPSHOT and request.selection.scope is STORE:
        raise Problem("invalid_parameter", "the initial documents are those of one collection or bucket")
    try:
        return await watches.open(
            request,
            consistency=consistency,
            timeout_s=timeout_s,
            owner=None if client is None or client.network == LOOPBACK else client,
            gone=gone,
            once=once,
        )
    except HistoryGone as error:
        restart = watches.tokens.encode(Position(error.oldest))
        raise Problem(error.code, error.detail, kept_after=error.oldest, restart=restart) from None
