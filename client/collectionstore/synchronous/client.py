# Generated from ../asynchronous by client/generate_sync.py: change it there.
"""`Client`: one cluster, for all threads of a process."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self, TypeVar, overload

from collectionstore.errors import Conflict, InvalidArgument, PreconditionFailed, TransactionConflict
from collectionstore.models.documents import Document, DocumentType
from collectionstore.models.json_text import decode, encode, filter_text
from collectionstore.models.queries import Projection, text, without_none
from collectionstore.models.results import TransactionResult
from collectionstore.models.sessions import Session
from collectionstore.runtime.blocking import Runtime
from collectionstore.runtime.hooks import Hooks
from collectionstore.runtime.watching import OnGap
from collectionstore.settings.options import Options
from collectionstore.settings.sources import from_environment, from_local, from_secret
from collectionstore.settings.urls import parse_url, with_overrides
from collectionstore.synchronous.collection import Collection
from collectionstore.synchronous.context import Context, body_of
from collectionstore.synchronous.coordination import Lease, Lock
from collectionstore.synchronous.kv import Bucket
from collectionstore.synchronous.transaction import Transaction
from collectionstore.synchronous.watch import Start, Watch
from collectionstore.wire.operations import Consistency, ListCollections
from collectionstore.wire.requests import json_request, segment

T = TypeVar("T")
Result = TypeVar("Result")

TRANSACTION_S = 120.0
"""For `with_transaction` with all of its attempts; as in MongoDB's convenient API, like the pauses between them."""
CONFLICT_BASE_S = 0.005
CONFLICT_MAX_S = 0.5


class Client:
    """A client of a cluster. Make one for each program and share it; close it at the end, or use it in a block.

    `url` is a connection string such as `collectionstore://host:7400,host/?timeout=5s`, or `Options`; without one it is
    found as `from_environment` says. `options` come before what it says: `timeout`, `token`, `consistency` and the
    others of `Options`. Nothing is connected before the first call. Raises ConfigurationError.
    """

    def __init__(self, url: str | Options | None = None, *, hooks: Hooks | None = None, **options: Any) -> None:
        if isinstance(url, Options):
            made = with_overrides(url, options)
        elif url is None:
            made = from_environment(**options)
        else:
            made = parse_url(url, **options)
        self._runtime = Runtime(made, hooks)
        self._context = Context(self._runtime)

    @classmethod
    def from_secret(cls, folder: Path | str, *, hooks: Hooks | None = None, **options: Any) -> Self:
        """Return a client of the cluster of a mounted Secret: a folder with `uri`, `ca.crt`, `token` and so on."""
        return cls(from_secret(Path(folder), **options), hooks=hooks)

    @classmethod
    def from_local(
        cls,
        name: str | None = None,
        *,
        state_dir: Path | str | None = None,
        hooks: Hooks | None = None,
        **options: Any,
    ) -> Self:
        """Return a client of a cluster that `csctl local` runs on this machine."""
        return cls(from_local(name, state_dir=state_dir, **options), hooks=hooks)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(self._runtime.options.seeds)})"

    @property
    def options(self) -> Options:
        """What the client goes by."""
        return self._runtime.options

    @property
    def closed(self) -> bool:
        """Whether it was closed."""
        return self._runtime.closed

    def with_options(
        self, *, timeout: object = None, consistency: Consistency | None = None, max_staleness: object = None
    ) -> Self:
        """Return a client with another deadline or consistency, on the same connections: closing one closes both."""
        made = type(self).__new__(type(self))
        made._runtime = self._runtime
        made._context = self._context.with_options(
            timeout=timeout, consistency=consistency, max_staleness=max_staleness
        )
        return made

    # Collections

    @overload
    def collection(self, name: str) -> Collection[Document]: ...

    @overload
    def collection(self, name: str, type_: type[T]) -> Collection[T]: ...

    def collection(self, name: str, type_: type[Any] | None = None) -> Collection[Any]:
        """Return a collection, whose documents are of `type_`: a TypedDict, dataclass, msgspec or pydantic model.

        Without a type they are `Document`: dicts with `_id`.
        """
        return Collection(self._context, name, type_)

    def __getitem__(self, name: str) -> Collection[Document]:
        return self.collection(name)

    def create_collection(
        self, name: str, *, exist_ok: bool = False, timeout: object = None, **options: Any
    ) -> Collection[Document]:
        """Create a collection and return it; `options` are `schema`, `ids`, `sequence_start` and `ttl`.

        Raises Conflict if it exists, or with `exist_ok` if it exists with other options.
        """
        body = encode(options) if options else None
        request = json_request("PUT", f"/collections/{segment(text('a name', name))}", body, writes=True)
        if not exist_ok:
            request.headers["If-None-Match"] = "*"
        try:
            self._context.send(request, timeout)
        except PreconditionFailed:
            problem = {"code": "collection_exists", "status": 409, "detail": "the collection exists"}
            raise Conflict({**problem, "outcome": "not_applied"}) from None
        return self.collection(name)

    def list_collection_names(self, prefix: str = "", *, timeout: object = None) -> list[str]:
        """Return the names of all collections that begin with `prefix`."""
        names: list[str] = []
        cursor: str | None = None
        while True:
            operation = ListCollections(limit=1_000)
            for name, one in without_none(prefix=prefix or None, cursor=cursor).items():
                setattr(operation, name, one)
            said = body_of(self._context.call(operation, timeout))
            names += [one["name"] for one in said["collections"]]
            cursor = said["next_cursor"]
            if cursor is None:
                return names

    def drop_collection(self, name: str, *, timeout: object = None) -> None:
        """Drop a collection with all its documents; one that does not exist is no error."""
        self.collection(name).drop(timeout=timeout)

    def bucket(self, name: str) -> Bucket:
        """Return a bucket of raw values, which needs no creation."""
        return Bucket(self._context, name)

    # Transactions and sessions

    def session(self, revision: int = 0) -> Session:
        """Return a session: in its block, stale reads see what was written in it. `revision`: of another program."""
        return Session(revision)

    def transaction(self) -> Transaction:
        """Return an interactive transaction: `with client.transaction() as tx:`."""
        return Transaction(self._context)

    def with_transaction(self, callback: Callable[[Transaction], Result], *, timeout: object = TRANSACTION_S) -> Result:
        """Run `callback` in a transaction and commit it, again from the beginning whenever there is a conflict.

        `callback` may run several times: what it does elsewhere must bear that. Raises what it raises, and
        TransactionConflict when the time is over.
        """
        left_s = self._context.with_options(timeout=timeout).timeout_s
        attempt = 0
        while True:
            transaction = Transaction(self._context)
            try:
                with transaction:
                    result = callback(transaction)
                return result
            except TransactionConflict:
                pause_s = self._runtime.chance() * min(CONFLICT_BASE_S * 1.5 ** min(attempt, 20), CONFLICT_MAX_S)
                attempt += 1
                # Counted in pauses: a clock is not needed to end, and conflicts that cost more wait longer.
                left_s -= max(pause_s, CONFLICT_BASE_S)
                if left_s <= 0:
                    raise
                self._runtime.sleep(pause_s)

    def transact(
        self,
        *,
        compare: Sequence[Mapping[str, Any]] = (),
        then: Sequence[Mapping[str, Any]] = (),
        otherwise: Sequence[Mapping[str, Any]] = (),
        timeout: object = None,
    ) -> TransactionResult:
        """Run `then` if all guards in `compare` hold, else `otherwise`: all at one revision, or nothing.

        The members of guards and operations are those of `POST /transactions`; a `value` is bytes here.
        """
        body = encode(without_none(compare=list(compare), then=list(then), **{"else": list(otherwise) or None}))
        request = json_request("POST", "/transactions", body, writes=True, long=True)
        said = body_of(self._context.send(request, timeout))
        return TransactionResult(bool(said["succeeded"]), int(said["revision"]), list(said["results"]))

    # Coordination

    def lease(self, ttl: object) -> Lease:
        """Return a lease of so many seconds, which is granted and kept alive in a block."""
        return Lease(self._context, ttl)

    def lock(self, name: str, *, ttl: object = 30.0, owner: str = "", wait: object = None) -> Lock:
        """Return a lock, which is acquired and renewed in a block; `wait`: for how long it is waited for."""
        return Lock(self._context, name, ttl=ttl, owner=owner, wait=wait)

    # Changes

    def watch(
        self,
        filter: Mapping[str, Any] | None = None,  # noqa: A002 - as of find
        *,
        operations: Sequence[str] | None = None,
        projection: Projection = None,
        before: bool = False,
        start: Start = "now",
        consumer: str | None = None,
        on_gap: OnGap = "raise",
    ) -> Watch[Document]:
        """Return the changes of all collections and buckets, as a collection's `watch` does; no `snapshot`."""
        if start == "snapshot":
            raise InvalidArgument("a snapshot is of one collection or bucket")
        return Watch(
            self._context,
            {},
            DocumentType(None),
            filter_=filter,
            operations=operations,
            projection=projection,
            before=before,
            start=start,
            consumer=consumer,
            on_gap=on_gap,
        )

    def create_consumer(
        self,
        name: str,
        *,
        collection: str | None = None,
        bucket: str | None = None,
        filter: Mapping[str, Any] | None = None,  # noqa: A002 - as of find
        start: Start = "now",
        timeout: object = None,
    ) -> dict[str, Any]:
        """Create a consumer, a place in the history that the cluster keeps; one that asks for the same stays."""
        wanted = without_none(collection=collection, bucket=bucket, filter=filter_text(filter) or None)
        body = encode({**wanted, "from": start})
        request = json_request("PUT", f"/consumers/{segment(text('a name', name))}", body, writes=True)
        return body_of(self._context.send(request, timeout))

    def acknowledge(self, consumer: str, token: str, *, timeout: object = None) -> None:
        """Move a consumer forward to the token of an event whose work is done."""
        path = f"/consumers/{segment(text('a name', consumer))}:ack"
        self._context.send(json_request("POST", path, encode({"token": token}), writes=True), timeout)

    def delete_consumer(self, name: str, *, timeout: object = None) -> None:
        """Forget a consumer."""
        path = f"/consumers/{segment(text('a name', name))}"
        self._context.send(json_request("DELETE", path, writes=True), timeout)

    # The cluster

    def ping(self, *, timeout: object = None) -> None:
        """Return once a member has answered. Raises CollectionStoreError."""
        self._context.send(json_request("GET", "/cluster", timed=False), timeout)

    def cluster(self, *, timeout: object = None) -> dict[str, Any]:
        """Return members, leader and configuration of the cluster."""
        return body_of(self._context.send(json_request("GET", "/cluster", timed=False), timeout))

    def request(
        self,
        method: Literal["GET", "POST", "PUT", "PATCH", "DELETE"],
        path: str,
        body: Any = None,
        *,
        parameters: Mapping[str, str] | None = None,
        timeout: object = None,
    ) -> Any:
        """Send a request of the API that has no method here, such as `GET /users`; return its JSON, or None.

        `path` begins behind `/api/v1` and is percent-encoded. With the deadline, retries, keys and errors of all calls.
        """
        if not path.startswith("/"):
            raise InvalidArgument("a path begins with a slash, behind /api/v1")
        content = None if body is None else encode(body)
        request = json_request(method, path, content, writes=method != "GET", long=True, timed=False)
        request.parameters |= dict(parameters or {})
        answer = self._context.send(request, timeout)
        return None if answer.body is None else decode(answer.body)

    def close(self) -> None:
        """Close all connections; what is under way fails with ConnectionFailure. Closing again does nothing."""
        self._runtime.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
