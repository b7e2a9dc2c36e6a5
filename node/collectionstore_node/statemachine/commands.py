"""The commands that the log carries, their outcomes, and their versioned encoding.

A log entry of kind COMMANDS holds one `CommandBatch`: the leader's time and the commands that arrived together.
Nothing here is evaluated against a clock or a random number: time and ids are stamped by the leader, so that every
replica computes the same. New fields go at the end with a default; a change of meaning takes a new `FORMAT`.

A batch may carry the trace contexts of sampled commands, as a third element behind what `CommandBatch` knows. It is
part of the entry's bytes, so of the log's chain, and equal on every replica. The state machine skips it, as every
version does that does not know it: what it says has no effect on state, outcomes or revisions.
"""

from __future__ import annotations

import enum
from collections.abc import Sequence
from typing import Annotated, Final, TypeAlias

import msgspec

from collectionstore_node.statemachine.codec import decode

FORMAT: Final = 1
"""First byte of every encoded batch."""
_THREE_ELEMENTS: Final = 0x93
_FIXED_ARRAY_MAX: Final = 0x9F
"""The next byte of one that has more than time and commands: msgpack's arrays of 3 to 15 elements."""


class DocumentRef(msgspec.Struct, frozen=True, array_like=True, tag=1, gc=False):
    """A document by collection name and id."""

    collection: str
    id: str


class KeyRef(msgspec.Struct, frozen=True, array_like=True, tag=2, gc=False):
    """A raw value by bucket and key; buckets need no creation."""

    bucket: str
    key: str


Ref: TypeAlias = DocumentRef | KeyRef


class Precondition(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What must hold for a write; both None means anything goes.

    `exists` True is `If-Match: *`, False is `If-None-Match: *`. `revisions` lists acceptable current revisions
    (`If-Match: "7", "9"`); an absent target matches none.
    """

    exists: bool | None = None
    revisions: tuple[int, ...] | None = None


ANY: Final = Precondition()


class Put(msgspec.Struct, frozen=True, array_like=True, tag=1, gc=False):
    """Store `value`: the compact JSON text of a document, or the raw bytes of a key.

    `content_type` is kept with raw values and given back on reads; empty for documents.
    """

    ref: Ref
    value: bytes
    precondition: Precondition = ANY
    content_type: str = ""


class Delete(msgspec.Struct, frozen=True, array_like=True, tag=2, gc=False):
    """Remove the target; deleting what is not there is NOT_FOUND."""

    ref: Ref
    precondition: Precondition = ANY


class CreateCollection(msgspec.Struct, frozen=True, array_like=True, tag=3):
    """Create a collection; one that exists is COLLECTION_EXISTS."""

    name: str


class DropCollection(msgspec.Struct, frozen=True, array_like=True, tag=4):
    """Drop a collection with all its documents."""

    name: str


class Get(msgspec.Struct, frozen=True, array_like=True, tag=6, gc=False):
    """Read the target inside a transaction, at the transaction's revision."""

    ref: Ref


class CompareField(enum.IntEnum):
    """What of the target is compared."""

    REVISION = 0
    """Revision of its last write; 0 when absent."""
    EXISTS = 1
    """1 when present, else 0."""
    VALUE = 2
    """The stored bytes; absent never compares true."""


class CompareOperator(enum.IntEnum):
    """How the target's field is compared with the operand."""

    EQUAL = 0
    NOT_EQUAL = 1
    GREATER = 2
    LESS = 3


class Compare(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One guard of a transaction: `field(ref) operator operand`; bytes only for VALUE."""

    ref: Ref
    field: CompareField
    operator: CompareOperator
    operand: int | bytes


Operation: TypeAlias = Put | Delete | Get


class Transaction(msgspec.Struct, frozen=True, array_like=True, tag=5):
    """If every `compare` holds do `then`, else `otherwise`; all or nothing, at one revision (etcd's Txn).

    A target may be written once per branch. A failing precondition of an operation fails the whole transaction, and so
    does a collection that does not exist, in a compare too. Deleting what is not there changes nothing and does not
    fail; ask for it with a precondition.
    """

    compare: tuple[Compare, ...] = ()
    then: tuple[Operation, ...] = ()
    otherwise: tuple[Operation, ...] = ()


Action: TypeAlias = Put | Delete | CreateCollection | DropCollection | Transaction


class Idempotency(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A client's key for one logical request, and the hash of what it asked for."""

    key: str
    fingerprint: bytes


class Command(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One client request. Every applied command, whatever its outcome, takes the next revision."""

    action: Action
    idempotency: Idempotency | None = None


class CommandBatch(msgspec.Struct, frozen=True, array_like=True):
    """The commands of one log entry. `time_ms` is the leader's wall clock, milliseconds since 1970 UTC."""

    time_ms: int
    commands: tuple[Command, ...]


SpanContext: TypeAlias = tuple[int, bytes]
"""Position of a sampled command in its batch, and trace id (16 bytes) and span id (8) of the span that proposed it."""


class _Traced(msgspec.Struct, frozen=True, array_like=True):
    """A batch for whoever wants nothing of it but the contexts."""

    time_ms: msgspec.Raw
    commands: msgspec.Raw
    contexts: tuple[tuple[int, Annotated[bytes, msgspec.Meta(min_length=24, max_length=24)]], ...] = ()


class Code(enum.IntEnum):
    """How a command ended."""

    OK = 0
    NOT_FOUND = 1
    """Document or key absent."""
    COLLECTION_NOT_FOUND = 2
    COLLECTION_EXISTS = 3
    PRECONDITION_FAILED = 4
    IDEMPOTENCY_KEY_REUSED = 5
    """The key came with another request before."""
    INVALID_TRANSACTION = 6
    """A transaction that `transactions.fault` objects to; nothing was done."""


class Item(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Result of one `Operation` of a transaction. `value` is None for writes and for an absent target."""

    revision: int
    """Revision of the target after the operation; 0 when absent."""
    created: bool = False
    value: bytes | None = None
    previous_revision: int = 0
    """Revision of the target before the operation; 0 when absent. Tells whether a delete removed something."""
    content_type: str = ""
    """Of a raw value that was read."""


class Outcome(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What applying a command gave, equal on every replica."""

    code: Code
    revision: int
    """Revision of this command."""
    created: bool = False
    """Whether a put made something that was not there."""
    current_revision: int = 0
    """Revision of the target's last write BEFORE this command; 0 when absent. A transaction tells it of the operation
    whose precondition failed."""
    succeeded: bool = True
    """Whether a transaction's compares held, so that `then` ran or was tried."""
    items: tuple[Item, ...] = ()
    """A transaction's results, in the order of the branch that ran."""
    replayed: bool = False
    """Whether this is the stored outcome of an earlier request with the same idempotency key."""
    failed_operation: int | None = None
    """Position, in the branch tried, of the operation that failed a transaction; None when it was a compare."""


_encoder = msgspec.msgpack.Encoder()
_batch_decoder = msgspec.msgpack.Decoder(CommandBatch)
_traced_decoder = msgspec.msgpack.Decoder(_Traced)
_command_decoder = msgspec.msgpack.Decoder(Command)
_outcome_decoder = msgspec.msgpack.Decoder(Outcome)


def encode_batch(time_ms: int, commands: Sequence[Command]) -> bytes:
    """Return the data of a COMMANDS entry. Raises as `encode_command`; one such command would spoil the batch."""
    return join_batch(time_ms, [encode_command(command) for command in commands])


def join_batch(time_ms: int, encoded: Sequence[bytes], contexts: Sequence[SpanContext] = ()) -> bytes:
    """Return the data of a COMMANDS entry made of commands that `encode_command` encoded before.

    Without `contexts` there is not a byte more than before there were any.
    """
    commands = [msgspec.Raw(command) for command in encoded]
    return bytes((FORMAT,)) + _encoder.encode((time_ms, commands, contexts) if contexts else (time_ms, commands))


def span_contexts(data: bytes) -> tuple[SpanContext, ...]:
    """Return the trace contexts that the data of a COMMANDS entry carries; none when there are none, or unreadable.

    Without any it looks at one byte. Never raises: an entry is not refused for its traces.
    """
    if len(data) < 2 or data[0] != FORMAT or not _THREE_ELEMENTS <= data[1] <= _FIXED_ARRAY_MAX:
        return ()
    try:
        return decode(_traced_decoder, memoryview(data)[1:]).contexts
    except msgspec.DecodeError:
        return ()


def decode_batch(data: bytes) -> CommandBatch:
    """Decode the data of a COMMANDS entry. Raises `msgspec.DecodeError` on anything else."""
    if not data or data[0] != FORMAT:
        raise msgspec.DecodeError(f"command batch of unknown format {data[:1].hex() or 'empty'}")
    return decode(_batch_decoder, memoryview(data)[1:])


def encode_command(command: Command) -> bytes:
    """Return a command as it stands in a batch and in a forwarded request.

    Raises `OverflowError` for a number beyond 64 bits and `UnicodeEncodeError` for a text with lone surrogates.
    """
    return _encoder.encode(command)


def decode_command(data: bytes) -> Command:
    """Decode a forwarded command. Raises `msgspec.DecodeError` on anything else."""
    return decode(_command_decoder, data)


def encode_outcome(outcome: Outcome) -> bytes:
    """Return the form in which an outcome is stored and sent back."""
    return _encoder.encode(outcome)


def decode_outcome(data: bytes) -> Outcome:
    """Decode an outcome. Raises `msgspec.DecodeError` on anything else."""
    return decode(_outcome_decoder, data)
