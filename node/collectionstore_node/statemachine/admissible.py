"""What a command may hold: names, keys, sizes and counts. Pure; one set of rules for clients and for members.

The front end refuses a client's request by these rules before it is proposed. A command that a member forwards is
checked again by the leader, with `check_command`: what that member checked, or was, is not known here, and once
committed a command is applied, stored and returned by every replica.

- collections and buckets: 1-63 of `a-z`, `0-9`, `_` and `-`, beginning with a letter or digit;
- document ids and raw keys: 1 to KEY_BYTES_MAX bytes of UTF-8 without control characters; no part between slashes may
  be "." or "..", because HTTP clients remove such segments before they send a path (RFC 3986 5.2.4).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

import msgspec

from collectionstore_node.documents.updates.dates import TIME_MS_MAX
from collectionstore_node.errors import InvalidRequest, TooLarge
from collectionstore_node.indexes.definition import definition_violation
from collectionstore_node.statemachine.access_checks import check_access
from collectionstore_node.statemachine.access_commands import (
    ConfigureAccess,
    CreateToken,
    DeleteRole,
    DeleteUser,
    PutRole,
    PutUser,
    RevokeToken,
    RotateToken,
    SetPassword,
    UseTokens,
)
from collectionstore_node.statemachine.commands import (
    AckConsumer,
    Action,
    BuildIndex,
    Command,
    Commit,
    Compare,
    ConfigureCollection,
    CreateCollection,
    CreateIndex,
    Delete,
    DeleteConsumer,
    DocumentRef,
    DropCollection,
    DropIndex,
    Expiring,
    GrantLease,
    GuardedTransaction,
    Idempotency,
    Insert,
    KeepLease,
    KeyRef,
    LimitHistory,
    Operation,
    Precondition,
    Put,
    PutConsumer,
    Query,
    Ref,
    RevokeLease,
    Touch,
    Transaction,
    Update,
    UpdateForm,
    plain,
)
from collectionstore_node.statemachine.commits import queries_reason
from collectionstore_node.statemachine.consumers import PASSED_MAX, REQUEST_BYTES_MAX
from collectionstore_node.statemachine.costs import (
    TRANSACTION_ITEMS_MAX,
    TTL_MAX_MS,
    TTL_MIN_MS,
    UPDATE_BYTES_MAX,
)
from collectionstore_node.statemachine.options import options_violation
from collectionstore_node.statemachine.searching import parse_query
from collectionstore_node.statemachine.transactions import invalid_reason
from collectionstore_node.statemachine.updates import check_patterns, parse

NAME: Final = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")
LOCKS: Final = "_locks"
"""The bucket of locks: raw values that clients write as locks only."""
UPDATED_BYTES_MAX: Final = 16 << 20
"""The largest document that any member may be set to take."""
KEY_BYTES_MAX: Final = 1 << 10
"""A document id or a raw key, as UTF-8."""
REVISIONS_MAX: Final = 64
"""Revisions in one precondition: as many entity tags as `If-Match` may list."""
FINGERPRINT_BYTES: Final = 32

CONTENT_TYPE_CHARACTERS_MAX: Final = 255
CONTENT_TYPE: Final = re.compile(r"[\x21-\x7e]+/[\x21-\x7e][\x20-\x7e]{0,254}")
"""A media type that can be sent as a header as it is: `type/subtype` in printable ASCII."""
IDEMPOTENCY_KEY: Final = re.compile(r"[\x21-\x7e]{1,255}")

_PLAIN: Final = re.compile(r"[A-Za-z0-9_~!$&'()*+,;=:@-][A-Za-z0-9._~!$&'()*+,;=:@-]{0,255}")
"""A key that breaks no rule: at most 256 bytes, no leading dot. The hot path."""
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f]")
_json_object: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])


class CommandLimits(msgspec.Struct, frozen=True, kw_only=True):
    """Bounds on one command."""

    document_bytes_max: int = 1 << 20
    """The JSON text of a document as it is stored."""
    value_bytes_max: int = 1 << 20
    """A raw value."""
    transaction_items_max: int = TRANSACTION_ITEMS_MAX
    """Entries in each of `compare`, `then` and `else`."""


def key_violation(text: str, bytes_max: int = KEY_BYTES_MAX) -> str | None:
    """Return what is wrong with a document id or raw key, as the end of a sentence about it; None if it is allowed."""
    if len(text) <= bytes_max and _PLAIN.fullmatch(text):
        return None
    violation = text_violation(text, bytes_max)
    if violation is None and any(part in (".", "..") for part in text.split("/")):
        return "must have no part between slashes that is '.' or '..': clients rewrite them"
    return violation


def text_violation(text: str, bytes_max: int = KEY_BYTES_MAX) -> str | None:
    """Return what is wrong with the beginning of a document id or raw key, as `key_violation` does."""
    try:
        size = len(text.encode())
    except UnicodeEncodeError:
        return "must be valid Unicode, without lone surrogates"
    if not 0 < size <= bytes_max:
        return f"has 1 to {bytes_max} bytes of UTF-8, this one has {size}"
    if _CONTROL.search(text):
        return "must not contain control characters"
    return None


def check_size(put: Put, limits: CommandLimits) -> None:
    """Refuse a document or value over its limit. Raises `TooLarge`."""
    document = type(put.ref) is DocumentRef
    bytes_max = limits.document_bytes_max if document else limits.value_bytes_max
    if len(put.value) > bytes_max:
        what = "document" if document else "value"
        raise TooLarge(f"the {what} has {len(put.value)} bytes; at most {bytes_max}", limit_bytes=bytes_max)


def check_update_size(update: Update, limits: CommandLimits) -> None:
    """Refuse an update over its limit. Raises `TooLarge`."""
    if update.form is UpdateForm.REPLACE:
        check_size(Put(update.ref, update.body), limits)
    elif len(update.body) > UPDATE_BYTES_MAX:
        raise TooLarge(
            f"the update has {len(update.body)} bytes; at most {UPDATE_BYTES_MAX}", limit_bytes=UPDATE_BYTES_MAX
        )


def check_counts(limits: CommandLimits, *, compare: int, then: int, otherwise: int) -> None:
    """Refuse a transaction with too many entries in one of its lists. Raises `InvalidRequest`."""
    for name, size in (("compare", compare), ("then", then), ("else", otherwise)):
        if size > limits.transaction_items_max:
            raise InvalidRequest("invalid_body", f"{name} has {size} items; at most {limits.transaction_items_max}")


def check_transaction(transaction: Transaction, limits: CommandLimits) -> None:
    """Refuse a transaction that exceeds a limit or contradicts itself. Raises `InvalidRequest` or `TooLarge`."""
    then, otherwise = transaction.then, transaction.otherwise
    check_counts(limits, compare=len(transaction.compare), then=len(then), otherwise=len(otherwise))
    _check_sizes("then", then, limits)
    _check_sizes("else", otherwise, limits)
    # The state machine rejects these too, but only after they have used an entry of the log.
    reason = invalid_reason(transaction)
    if reason is not None:
        raise InvalidRequest("invalid_body", reason.replace("otherwise", "else", 1))


def check_guarded(guarded: GuardedTransaction, limits: CommandLimits) -> None:
    """Refuse a transaction with queries, as `check_transaction` does."""
    check_transaction(guarded.transaction, limits)
    _check_queries(guarded)


def check_commit(commit: Commit, limits: CommandLimits) -> None:
    """Refuse the end of an interactive transaction, as `check_transaction` does."""
    check_transaction(Transaction(then=commit.writes), limits)
    _check_queries(commit)


def _check_queries(action: GuardedTransaction | Commit) -> None:
    reason = queries_reason(action)
    if reason is not None:
        raise InvalidRequest("invalid_body", reason)


def check_command(command: Command, limits: CommandLimits) -> None:
    """Refuse a whole command that no front end would have made of a request. Raises `InvalidRequest` or `TooLarge`.

    Texts never quote the command: it may hold a document.
    """
    if command.idempotency is not None:
        _check_idempotency(command.idempotency)
    if not 0 <= (command.access or 0) < 1 << 63:
        raise InvalidRequest("invalid_body", "an access revision is out of range")
    _check_action(command.action, limits)


def _check_action(action: Action, limits: CommandLimits) -> None:
    match action:
        case CreateIndex(collection, definition):
            _check_name(collection, "collection")
            violation = definition_violation(definition)
            if violation is not None:
                raise InvalidRequest("invalid_index", violation)
        case DropIndex(collection, name):
            _check_name(collection, "collection")
            _check_name(name, "index")
        case LimitHistory(bytes_max):
            if not 0 <= bytes_max < 1 << 63:
                raise InvalidRequest("invalid_body", "a bound of the history is out of range")
        case BuildIndex(collection, _, after):
            _check_name(collection, "collection")
            if after is not None:
                _check_key(after, "document id")
        case ConfigureCollection(collection, options, expected):
            _check_name(collection, "collection")
            violation = options_violation(options)
            if violation is not None:
                raise InvalidRequest("invalid_options", violation)
            if not 0 <= expected < 1 << 63:
                raise InvalidRequest("invalid_body", "a revision of options is out of range")
        case Insert(collection, value):
            _check_name(collection, "collection")
            check_size(Put(DocumentRef(collection, "1"), value), limits)
            _check_document(value)
        case PutConsumer() | AckConsumer() | DeleteConsumer():
            _check_consumer(action)
        case (
            PutUser()
            | DeleteUser()
            | PutRole()
            | DeleteRole()
            | CreateToken()
            | RotateToken()
            | RevokeToken()
            | UseTokens()
            | ConfigureAccess()
            | SetPassword()
        ):
            check_access(action)
        case CreateCollection() | DropCollection():
            _check_name(action.name, "collection")
        case GuardedTransaction():
            check_guarded(action, limits)
            _check_action(action.transaction, limits)
            for guard in action.guards:
                _check_query(guard.query)
        case Commit():
            check_commit(action, limits)
            _check_action(Transaction(then=action.writes), limits)
            for target in action.targets:
                _check_ref(target.ref)
            for read in action.queries:
                _check_query(read.query)
        case Transaction():
            check_transaction(action, limits)
            steps = map(plain, (*action.then, *action.otherwise))
            check_patterns(one for one in steps if isinstance(one, Update))
            for compare in action.compare:
                _check_compare(compare)
            for step in (*action.then, *action.otherwise):
                _check_operation(step)
        case Put():
            check_size(action, limits)
            _check_operation(action)
        case Delete():
            _check_operation(action)
        case Update():
            check_update_size(action, limits)
            _check_operation(action)
        case Expiring(write):
            _check_action(write, limits)
            _check_operation(action)
        case Touch():
            _check_ref(action.ref)
            _check_precondition(action.precondition)
            check_life(action.ttl_ms, action.lease)
        case GrantLease(ttl_ms):
            check_life(ttl_ms or -1, 0)
        case KeepLease(lease) | RevokeLease(lease):
            check_life(0, lease)


def check_life(ttl_ms: int, lease: int) -> None:
    """Refuse a ttl that is out of range, or comes with a lease; 0 is none. Raises `InvalidRequest`."""
    if ttl_ms and not TTL_MIN_MS <= ttl_ms <= TTL_MAX_MS:
        raise InvalidRequest("invalid_ttl", f"a ttl has {TTL_MIN_MS} to {TTL_MAX_MS} milliseconds")
    if ttl_ms and lease:
        raise InvalidRequest("invalid_ttl", "what is attached to a lease has no ttl of its own")
    if not 0 <= lease < 1 << 63:
        raise InvalidRequest("invalid_ttl", "the ID of a lease is out of range")


def _check_consumer(action: PutConsumer | AckConsumer | DeleteConsumer) -> None:
    _check_name(action.name, "consumer")
    if isinstance(action, DeleteConsumer):
        return
    if not 0 <= (action.revision or 0) < 1 << 63 or not 0 <= action.passed <= PASSED_MAX:
        raise InvalidRequest("invalid_body", "the position of a consumer is out of range")
    if isinstance(action, AckConsumer):
        return
    if action.kind not in ("collection", "bucket", "store") or (action.kind == "store") != (not action.scope):
        raise InvalidRequest("invalid_body", "a consumer is of a collection, of a bucket, or of the store")
    if action.scope:
        _check_name(action.scope, action.kind)
    if len(action.request) > REQUEST_BYTES_MAX:
        raise TooLarge(f"a consumer asks with at most {REQUEST_BYTES_MAX} bytes", limit_bytes=REQUEST_BYTES_MAX)


def _check_operation(operation: Operation) -> None:
    if isinstance(operation, Expiring):
        check_life(operation.ttl_ms, operation.lease)
        operation = operation.write
        if isinstance(operation, Update) and operation.form is UpdateForm.DELETE:
            raise InvalidRequest("invalid_ttl", "a delete has no ttl")
    _check_ref(operation.ref)
    if isinstance(operation, Put | Delete | Update):
        _check_precondition(operation.precondition)
    if isinstance(operation, Put):
        _check_content(operation)
    if isinstance(operation, Update):
        _check_update(operation)


def _check_update(update: Update) -> None:
    parse(update)
    if update.form is UpdateForm.REPLACE:
        _check_document(update.body)
    if not 0 <= update.time_ms <= TIME_MS_MAX or not 0 <= update.unchanged_since < 1 << 63:
        raise InvalidRequest("invalid_body", "a time or a revision of an update is out of range")
    if not 0 <= update.bytes_max <= UPDATED_BYTES_MAX:
        raise InvalidRequest("invalid_body", f"an update allows a document of at most {UPDATED_BYTES_MAX} bytes")


def _check_compare(compare: Compare) -> None:
    _check_ref(compare.ref)
    if isinstance(compare.operand, int) and compare.operand < 0:
        raise InvalidRequest("invalid_body", "an operand is below 0")


def _check_query(query: Query) -> None:
    _check_name(query.collection, "collection")
    if query.id is not None:
        _check_key(query.id, "document id")
    parse_query(query.filter)


def _check_ref(ref: Ref) -> None:
    if type(ref) is DocumentRef:
        _check_name(ref.collection, "collection")
        _check_key(ref.id, "document id")
    elif type(ref) is KeyRef:
        if ref.bucket != LOCKS:
            _check_name(ref.bucket, "bucket")
        _check_key(ref.key, "key")


def _check_name(text: str, what: str) -> None:
    if not NAME.fullmatch(text):
        raise InvalidRequest("invalid_name", f"the {what} name is not allowed: 1-63 of a-z, 0-9, '_' and '-'")


def _check_key(text: str, what: str) -> None:
    violation = key_violation(text)
    if violation is not None:
        raise InvalidRequest("invalid_name", f"a {what} {violation}")


def _check_precondition(precondition: Precondition) -> None:
    revisions = precondition.revisions
    if revisions is not None and (len(revisions) > REVISIONS_MAX or any(one < 1 for one in revisions)):
        raise InvalidRequest("invalid_precondition", f"a precondition lists up to {REVISIONS_MAX} revisions from 1 on")


def _check_content(put: Put) -> None:
    if type(put.ref) is DocumentRef:
        if put.content_type:
            raise InvalidRequest("invalid_body", "a document has no content type")
        _check_document(put.value)
    # Empty is a value without a type, which is answered with the default one.
    elif put.content_type and not _is_media_type(put.content_type):
        raise InvalidRequest("invalid_header", "the content type cannot be sent as a header")


def _is_media_type(text: str) -> bool:
    return len(text) <= CONTENT_TYPE_CHARACTERS_MAX and CONTENT_TYPE.fullmatch(text) is not None


RESERVED_NAMES: Final = "top-level names beginning with '_' are reserved"


def has_reserved_name(document: bytes) -> bool:
    """Whether a JSON object has a name that documents may not have. Raises `msgspec.DecodeError` if it is none."""
    return any(name.startswith("_") for name in _json_object.decode(document))


def _check_document(value: bytes) -> None:
    # Its framing alone, without building it: an answer puts the text of a document into its own JSON.
    try:
        reserved = has_reserved_name(value)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise InvalidRequest("malformed_json", "the document is not a JSON object") from None
    if reserved:
        raise InvalidRequest("reserved_field", RESERVED_NAMES)


def _check_sizes(branch: str, steps: Sequence[Operation], limits: CommandLimits) -> None:
    for position, step in enumerate(map(plain, steps)):
        if isinstance(step, Put | Update):
            try:
                if isinstance(step, Put):
                    check_size(step, limits)
                else:
                    check_update_size(step, limits)
            except TooLarge as error:
                raise TooLarge(f"{branch}[{position}]: {error.detail}", limit_bytes=error.limit_bytes) from None


def _check_idempotency(idempotency: Idempotency) -> None:
    if not IDEMPOTENCY_KEY.fullmatch(idempotency.key) or len(idempotency.fingerprint) != FINGERPRINT_BYTES:
        raise InvalidRequest("invalid_idempotency_key", "an Idempotency-Key has 1-255 printable ASCII characters")
