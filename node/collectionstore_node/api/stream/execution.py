"""From an operation to its answer. A write is submitted, and answered in one callback with all that have their outcomes
together; what is seldom or long - large documents, lists, a change of leader - gets a task. Reads are executed in
`reads.py`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from functools import partial
from typing import Any, Final

from collectionstore_node.api.handlers.transaction_bodies import check_updates, has_updates
from collectionstore_node.api.handlers.transactions import parse_transaction, result_label, transaction_rules
from collectionstore_node.api.http.call import ApiContext
from collectionstore_node.api.http.json_bodies import AT_ONCE_BYTES_MAX, at_once, compact_json, compact_json_steps
from collectionstore_node.api.http.json_windows import Rules
from collectionstore_node.api.http.names import collection_name
from collectionstore_node.api.http.problems import Problem
from collectionstore_node.api.stream import operations
from collectionstore_node.api.stream.conversion import (
    check_read_conditions,
    check_size,
    content_type,
    document_ref,
    idempotency_key,
    key_ref,
    rules,
    timeout_s,
    write_precondition,
)
from collectionstore_node.api.stream.finished import Finished
from collectionstore_node.api.stream.flight import Flight, Stream
from collectionstore_node.api.stream.reads import Reads
from collectionstore_node.api.stream.rendering import (
    created_answer,
    delete_answer,
    put_answer,
    removed_answer,
    transaction_answer,
)
from collectionstore_node.api.stream.requests import Requests
from collectionstore_node.api.stream.watching import Watching
from collectionstore_node.errors import LeadershipTransferring, NotLeader, OutcomeUnknown
from collectionstore_node.lifecycle import NO_MEMORY, end_without_memory
from collectionstore_node.service import Consistency, Work
from collectionstore_node.service.operations import (
    Action,
    CreateCollection,
    Delete,
    DropCollection,
    Insert,
    Put,
    Transaction,
)
from collectionstore_node.service.results import Outcome

_NOT_APPLIED: Final = (NotLeader, LeadershipTransferring)


class Executor:
    """Executes the operations of all streams of a port."""

    def __init__(self, api: ApiContext, finished: Finished) -> None:
        """`finished` counts what is answered."""
        self._api = api
        self._finished = finished
        self._decided: list[Flight] = []
        """Writes that were told their outcomes, and are not answered."""
        self._tell = self._told
        self._reads = Reads(api)
        self._watching = Watching(api)
        self._store = api.store
        self._limits = api.limits
        self._document_rules = rules(api.limits.depth_max)
        self._transaction_rules = transaction_rules(api)
        self._document_bytes_max = api.store.limits.document_bytes_max
        self._begin: dict[type, Callable[[Stream, Flight, Any], None]] = {
            operations.PutDocument: self._put_document,
            operations.JsonPutDocument: self._put_document,
            operations.InsertDocument: self._insert_document,
            operations.JsonInsertDocument: self._insert_document,
            operations.GetDocument: self._get_document,
            operations.DeleteDocument: self._delete_document,
            operations.ListDocuments: self._in_task(self._reads.list_documents),
            operations.PutValue: self._put_value,
            operations.GetValue: self._get_value,
            operations.DeleteValue: self._delete_value,
            operations.ListKeys: self._in_task(self._reads.list_keys),
            operations.CreateCollection: self._create_collection,
            operations.GetCollection: self._in_task(self._reads.get_collection),
            operations.DropCollection: self._drop_collection,
            operations.ListCollections: self._in_task(self._reads.list_collections),
            operations.Transaction: self._transaction,
            operations.JsonTransaction: self._transaction,
            operations.Watch: self._in_task(self._watching.open),
            operations.JsonWatch: self._in_task(self._watching.open),
            operations.GrantWatch: self._watching.grant,
            operations.Unwatch: self._watching.close,
            operations.Malformed: self._malformed,
        }
        requests = Requests(api)
        self._begin |= dict.fromkeys(requests.kinds, self._in_task(requests.execute))

    def begin(self, stream: Stream, flight: Flight) -> None:
        """Begin an operation. Raises `Problem` or `NodeError` when it is refused; otherwise `stream` gets its answer.

        A single read is only prepared: `flight.target` is set, and `read` executes it together with others.
        """
        operation = flight.operation
        if operation.timeout_ms is not None:
            flight.timeout_s = timeout_s(operation.timeout_ms, self._limits)
        self._begin[type(operation)](stream, flight, operation)

    def read(self, stream: Stream, flights: Sequence[Flight]) -> None:
        """Execute prepared reads."""
        self._reads.read(stream, flights)

    # Documents

    def _put_document(self, stream: Stream, flight: Flight, operation: operations.PutDocument) -> None:
        ref = document_ref(operation.collection, operation.id, self._limits)
        precondition, key = write_precondition(operation), idempotency_key(operation)
        text = bytes(operation.document)
        check_size(len(text), self._document_bytes_max)
        if at_once(text):
            self._submit(stream, flight, Put(ref, compact_json(text, self._document_rules), precondition), key)
        else:
            make = partial(Put, ref, precondition=precondition)
            stream.spawn((flight,), self._submit_large(stream, flight, text, self._document_rules, key, make))

    def _insert_document(self, stream: Stream, flight: Flight, operation: operations.InsertDocument) -> None:
        collection, key = collection_name(operation.collection), idempotency_key(operation)
        text = bytes(operation.document)
        check_size(len(text), self._document_bytes_max)

        def make(document: bytes) -> Put | Insert:
            flight.made, write = self._store.insertion(collection, document, key)
            return write

        if at_once(text):
            self._submit(stream, flight, make(compact_json(text, self._document_rules)), key)
        else:
            stream.spawn((flight,), self._submit_large(stream, flight, text, self._document_rules, key, make))

    def _get_document(self, stream: Stream, flight: Flight, operation: operations.GetDocument) -> None:
        check_read_conditions(operation)
        flight.target = document_ref(operation.collection, operation.id, self._limits)

    def _delete_document(self, stream: Stream, flight: Flight, operation: operations.DeleteDocument) -> None:
        ref = document_ref(operation.collection, operation.id, self._limits)
        self._submit(stream, flight, Delete(ref, write_precondition(operation)), idempotency_key(operation))

    # Raw values

    def _put_value(self, stream: Stream, flight: Flight, operation: operations.PutValue) -> None:
        ref = key_ref(operation.bucket, operation.key, self._limits)
        precondition, key = write_precondition(operation), idempotency_key(operation)
        put = Put(ref, operation.value, precondition, content_type(operation.content_type))
        self._submit(stream, flight, put, key)

    def _get_value(self, stream: Stream, flight: Flight, operation: operations.GetValue) -> None:
        check_read_conditions(operation)
        flight.target = key_ref(operation.bucket, operation.key, self._limits)

    def _delete_value(self, stream: Stream, flight: Flight, operation: operations.DeleteValue) -> None:
        ref = key_ref(operation.bucket, operation.key, self._limits)
        self._submit(stream, flight, Delete(ref, write_precondition(operation)), idempotency_key(operation))

    # Collections and transactions

    def _create_collection(self, stream: Stream, flight: Flight, operation: operations.CreateCollection) -> None:
        name = collection_name(operation.collection)
        if operation.if_exists:
            raise Problem("invalid_precondition", "the only precondition of a collection is that it does not exist")
        self._submit(stream, flight, CreateCollection(name), idempotency_key(operation))

    def _drop_collection(self, stream: Stream, flight: Flight, operation: operations.DropCollection) -> None:
        self._submit(stream, flight, DropCollection(collection_name(operation.collection)), idempotency_key(operation))

    def _transaction(self, stream: Stream, flight: Flight, operation: operations.Transaction) -> None:
        key = idempotency_key(operation)
        text = bytes(operation.transaction)
        check_size(len(text), self._limits.transaction_bytes_max)
        if at_once(text):
            transaction = parse_transaction(compact_json(text, self._transaction_rules), self._api)
            if has_updates(transaction):
                stream.spawn((flight,), self._submit_checked(stream, flight, transaction, key))
            else:
                self._submit(stream, flight, transaction, key)
        else:
            make = partial(parse_transaction, api=self._api)
            stream.spawn((flight,), self._submit_large(stream, flight, text, self._transaction_rules, key, make))

    def _malformed(self, stream: Stream, flight: Flight, operation: operations.Malformed) -> None:
        raise Problem("invalid_body", operation.detail)

    # Writes

    def _submit(self, stream: Stream, flight: Flight, action: Action, key: str | None) -> None:
        """Propose a write; its outcome is answered with others. Raises what refuses it at once."""
        flight.action, flight.key = action, key
        flight.submitted(stream, self._tell)
        try:
            flight.counted = self._store.submit(
                action, flight, key=key, timeout_s=flight.timeout_s, parent=flight.parent
            )
        except _NOT_APPLIED:
            stream.spawn((flight,), self._wait_for_leader(stream, flight))

    async def _submit_large(
        self,
        stream: Stream,
        flight: Flight,
        text: bytes,
        checks: Rules,
        key: str | None,
        make: Callable[[bytes], Action],
    ) -> None:
        """Check JSON between other work, then propose what `make` makes of it."""
        compact = await self._store.in_steps(Work.BODY, compact_json_steps(text, checks), timeout_s=flight.left_s)
        action = make(compact)
        if len(compact) > AT_ONCE_BYTES_MAX:
            # What follows, encoding and proposing it, takes as long as what came before.
            await asyncio.sleep(0)
        if isinstance(action, Transaction) and has_updates(action):
            await self._submit_checked(stream, flight, action, key)
            return
        flight.action, flight.key = action, key
        await self._wait_for_leader(stream, flight)

    async def _submit_checked(self, stream: Stream, flight: Flight, transaction: Transaction, key: str | None) -> None:
        """Check the updates of a transaction beside the event loop, then propose it."""
        await self._store.queries.checked(lambda: check_updates(transaction), timeout_s=flight.left_s)
        flight.action, flight.key = transaction, key
        await self._wait_for_leader(stream, flight)

    async def _wait_for_leader(self, stream: Stream, flight: Flight) -> None:
        """Execute a write that no leader has taken yet."""
        if flight.action is None:
            raise RuntimeError("only a write waits for a leader")
        outcome = await self._store.execute(flight.action, key=flight.key, timeout_s=flight.left_s)
        self._answer_write(stream, flight, outcome)

    def _told(self, flight: Flight) -> None:
        """Note that a write was told its outcome; all that are told together are answered in one callback."""
        if not self._decided:
            self._store.soon(self._answer_decided)
        self._decided.append(flight)

    def _answer_decided(self) -> None:
        decided, self._decided = self._decided, []
        with self._finished:
            for flight in decided:
                try:
                    self._answer(flight.stream, flight)
                except NO_MEMORY as error:
                    end_without_memory("operation", error)
                except Exception as error:  # the boundary: those behind it have outcomes, too
                    flight.stream.broke(flight, error)

    def _answer(self, stream: Stream, flight: Flight) -> None:
        """Answer a write with its outcome, or with the problem that came in its place."""
        outcome, error = flight.outcome, flight.error
        try:
            self._store.count_out(flight.counted, decided=outcome is not None)
            if error is not None:
                raise error
            if outcome is None:
                raise RuntimeError("a write is told an outcome or an error")
            self._answer_write(stream, flight, outcome)
        except _NOT_APPLIED:
            # Certainly not applied (Raft 5.3), so another leader cannot apply it twice.
            stream.spawn((flight,), self._wait_for_leader(stream, flight))
        except asyncio.CancelledError:
            stream.fail(flight, OutcomeUnknown("the node is stopping"))
        except NO_MEMORY as error:
            end_without_memory("operation", error)
        except Exception as error:  # the boundary: everything becomes an answer
            stream.fail(flight, error)

    def _answer_write(self, stream: Stream, flight: Flight, outcome: Outcome) -> None:
        """Answer with the outcome of a write. Raises `Problem`."""
        tag, action = flight.operation.tag, flight.action
        match action:
            case Put() | Insert():
                stream.answer(flight, put_answer(tag, action, outcome, flight.made, self._store))
            case Delete():
                stream.answer(flight, delete_answer(tag, action, outcome))
            case CreateCollection():
                self._answer_created(stream, flight, action.name, outcome)
            case DropCollection():
                stream.answer(flight, removed_answer(tag, outcome, absent="collection_not_found"))
            case Transaction():
                self._api.metrics.transaction(result_label(outcome))
                stream.answer(flight, transaction_answer(tag, action, outcome, stream.codec, self._store))

    def _answer_created(self, stream: Stream, flight: Flight, name: str, outcome: Outcome) -> None:
        operation = flight.operation
        if_exists = operation.if_exists if isinstance(operation, operations.CreateCollection) else None
        answer = created_answer(operation.tag, outcome, if_exists=if_exists)
        if answer is not None:
            stream.answer(flight, answer)
            return
        # Linearizable: this node may not have applied its creation yet.
        found = self._reads.answer_collection(stream, flight, name, Consistency.LINEARIZABLE, replayed=outcome.replayed)
        stream.spawn((flight,), found)

    def _in_task(
        self, run: Callable[[Stream, Flight, Any], Coroutine[Any, Any, None]]
    ) -> Callable[[Stream, Flight, Any], None]:
        """Return what begins an operation that is a coroutine, once answers do not crowd."""

        async def work(stream: Stream, flight: Flight, operation: Any) -> None:
            while stream.crowded:
                await stream.room()
            if stream.ended:
                raise Problem("client_closed", "the client closed the stream")
            await run(stream, flight, operation)

        return lambda stream, flight, operation: stream.spawn((flight,), work(stream, flight, operation))
