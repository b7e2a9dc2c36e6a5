"""The body of a transaction, and the `Transaction` it becomes.

Sizes of documents and values, and targets that are written twice, are checked by the store.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Annotated, Final, Protocol, TypeAlias

import msgspec

from collectionstore_node.api.handlers.guards import Compare, guard_of, query_guard_of
from collectionstore_node.api.handlers.targets import Target, base64_of, ref_of
from collectionstore_node.api.http.bodies import DEFAULT_CONTENT_TYPE, check_content_type
from collectionstore_node.api.http.lives import life_of
from collectionstore_node.api.http.problems import Problem
from collectionstore_node.service import operations
from collectionstore_node.service.commits import check_query
from collectionstore_node.service.limits import RESERVED_NAMES, has_reserved_name
from collectionstore_node.service.operations import (
    ANY,
    DocumentRef,
    Guard,
    GuardedTransaction,
    Precondition,
    QueryGuard,
    Transaction,
    TransactionStep,
    UpdateForm,
    plain,
)
from collectionstore_node.service.update_checks import check_patterns, check_text

_NOT_GIVEN: Final = (b"", b"null")
"""A field that is not given: `Raw | None` would make msgspec refuse every value but null."""


class ConditionalWrite(Target, frozen=True, kw_only=True):
    """A write with its own precondition; one that fails fails the whole transaction."""

    if_revision: Annotated[int, msgspec.Meta(ge=1)] | None = None
    if_exists: bool | None = None
    when: msgspec.Raw = msgspec.field(default_factory=msgspec.Raw)
    """A filter that the document must match."""


class LivingWrite(ConditionalWrite, frozen=True, kw_only=True):
    """A write of something that expires, if it has a `ttl` or a `lease`."""

    ttl: str | None = None
    lease: int | None = None


class Put(LivingWrite, frozen=True, kw_only=True, tag_field="op", tag="put"):
    """Store `document`, or `value` (base64) with its `content_type`."""

    document: msgspec.Raw = msgspec.field(default_factory=msgspec.Raw)
    value: str | None = None
    content_type: str | None = None


class Delete(ConditionalWrite, frozen=True, kw_only=True, tag_field="op", tag="delete"):
    """Remove the target; a target that does not exist is no failure."""


class Get(Target, frozen=True, kw_only=True, tag_field="op", tag="get"):
    """Read the target at the transaction's revision."""


class Update(LivingWrite, frozen=True, kw_only=True, tag_field="op", tag="update"):
    """Change a document where it is, by one of the three forms."""

    update: msgspec.Raw = msgspec.field(default_factory=msgspec.Raw)
    merge_patch: msgspec.Raw = msgspec.field(default_factory=msgspec.Raw)
    json_patch: msgspec.Raw = msgspec.field(default_factory=msgspec.Raw)
    array_filters: msgspec.Raw = msgspec.field(default_factory=msgspec.Raw)
    upsert: bool = False


Step: TypeAlias = Put | Delete | Get | Update


class TransactionBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The body of a transaction."""

    compare: list[Compare] = []
    then: list[Step] = []
    otherwise: list[Step] = msgspec.field(default_factory=list, name="else")


def transaction_of(body: TransactionBody, key_bytes_max: int) -> Transaction | GuardedTransaction:
    """Return the transaction that `body` describes. Raises `Problem` with the path of the offending entry."""
    compares: list[Guard] = []
    guards: list[QueryGuard] = []
    for at, one in enumerate(body.compare):
        if one.queries:
            guards.append(query_guard_of(one, f"compare[{at}]", key_bytes_max))
        else:
            compares.append(guard_of(one, f"compare[{at}]", key_bytes_max))
    transaction = Transaction(
        compare=tuple(compares),
        then=steps_of(body.then, "then", key_bytes_max),
        otherwise=steps_of(body.otherwise, "else", key_bytes_max),
    )
    return GuardedTransaction(transaction, tuple(guards)) if guards else transaction


def compare_positions(body: TransactionBody) -> tuple[int, ...]:
    """Return where the compares of a transaction are in its body: those without queries are asked first."""
    positions = range(len(body.compare))
    return tuple(sorted(positions, key=lambda at: body.compare[at].queries))


def steps_of(steps: Sequence[Step], name: str, key_bytes_max: int) -> tuple[TransactionStep, ...]:
    """Return the operations of a list; `name` is that of the list in the body. Raises `Problem`."""
    return tuple(_living(step, f"/{name}/{at}", f"{name}[{at}]", key_bytes_max) for at, step in enumerate(steps))


def _living(step: Step, pointer: str, path: str, key_bytes_max: int) -> TransactionStep:
    made = _step(step, path, key_bytes_max)
    life = life_of(step.ttl, step.lease, pointer) if isinstance(step, LivingWrite) else None
    return life.of(made) if life is not None and isinstance(made, operations.Put | operations.Update) else made


def _step(step: Step, path: str, key_bytes_max: int) -> TransactionStep:
    ref = ref_of(step, path, key_bytes_max)
    match step:
        case Get():
            return operations.Get(ref)
        case Update() if isinstance(ref, DocumentRef):
            return update_of(step, ref, path, _precondition(step))
        case Update():
            raise Problem("invalid_body", f"{path}: an update is of a document, by collection and id")
        case Put() | Delete() if step.when and not isinstance(ref, DocumentRef):
            raise Problem("invalid_body", f"{path}.when: a filter is for documents")
        case Delete() if step.when and isinstance(ref, DocumentRef):
            precondition = _precondition(step)
            return operations.Update(ref, UpdateForm.DELETE, when=bytes(step.when), precondition=precondition)
        case Delete():
            return operations.Delete(ref, _precondition(step))
        case Put() if isinstance(ref, DocumentRef) and step.when:
            document, precondition = _document(step, path), _precondition(step)
            return operations.Update(
                ref, UpdateForm.REPLACE, document, when=bytes(step.when), precondition=precondition
            )
        case Put() if isinstance(ref, DocumentRef):
            return operations.Put(ref, _document(step, path), _precondition(step))
        case Put():
            kind = DEFAULT_CONTENT_TYPE if step.content_type is None else check_content_type(step.content_type)
            return operations.Put(ref, _value(step, path), _precondition(step), kind)


class AnyUpdate(Protocol):
    """The forms of an update, of which one is given."""

    @property
    def update(self) -> msgspec.Raw:
        """Operators."""

    @property
    def merge_patch(self) -> msgspec.Raw:
        """RFC 7396."""

    @property
    def json_patch(self) -> msgspec.Raw:
        """RFC 6902."""

    @property
    def array_filters(self) -> msgspec.Raw:
        """A list of filters."""

    @property
    def when(self) -> msgspec.Raw:
        """A filter."""

    @property
    def upsert(self) -> bool:
        """Whether a document is inserted if there is none."""


def update_of(given: AnyUpdate, ref: DocumentRef, path: str, precondition: Precondition) -> operations.Update:
    """Return the update that a part of a body describes, not checked yet; `path` names it. Raises `Problem`."""
    forms = (
        (UpdateForm.OPERATORS, given.update),
        (UpdateForm.MERGE_PATCH, given.merge_patch),
        (UpdateForm.JSON_PATCH, given.json_patch),
    )
    found = [(form, bytes(text)) for form, text in forms if text]
    if len(found) != 1:
        raise Problem("invalid_body", f"{path}: an update has one of: update, merge_patch, json_patch")
    (form, body), filters, when = found[0], bytes(given.array_filters), bytes(given.when)
    return operations.Update(ref, form, body, filters, when, precondition, upsert=given.upsert)


FIELDS: Final = {
    UpdateForm.OPERATORS: "update",
    UpdateForm.MERGE_PATCH: "merge_patch",
    UpdateForm.JSON_PATCH: "json_patch",
    UpdateForm.REPLACE: "document",
    UpdateForm.DELETE: "",
}
"""Where the body of an update is in its step."""


def check_updates(transaction: Transaction) -> None:
    """Check the updates of a transaction; takes long, as its patterns are compiled. Raises `InvalidRequest`."""
    check_branches({"then": transaction.then, "else": transaction.otherwise})


def check_guarded(guarded: GuardedTransaction, positions: Sequence[int]) -> None:
    """Check the updates of a transaction and the filters of its queries, as `check_updates`.

    `positions` are those of its compares in the body.
    """
    check_updates(guarded.transaction)
    first = len(guarded.transaction.compare)
    for at, guard in zip(positions[first:], guarded.guards, strict=True):
        check_query(guard.query.filter, f"/compare/{at}/filter")


def check_branches(branches: dict[str, tuple[TransactionStep, ...]]) -> None:
    """Check the updates of the lists of a body, by name, as `check_updates`."""
    steps = [plain(one) for branch in branches.values() for one in branch]
    check_patterns(one for one in steps if isinstance(one, operations.Update))
    for name, branch in branches.items():
        for at, step in enumerate(map(plain, branch)):
            if isinstance(step, operations.Update):
                where = f"/{name}/{at}"
                pointers = (f"{where}/{FIELDS[step.form]}", f"{where}/when", f"{where}/array_filters")
                check_text(step, pointers)


def has_updates(transaction: Transaction) -> bool:
    """Whether a transaction has updates, which `check_updates` must check."""
    return any(isinstance(one, operations.Update) for one in _plain_steps(transaction))


def _plain_steps(transaction: Transaction) -> Iterator[TransactionStep]:
    return map(plain, (*transaction.then, *transaction.otherwise))


def _precondition(step: ConditionalWrite) -> Precondition:
    if step.if_revision is None and step.if_exists is None:
        return ANY
    return Precondition(step.if_exists, None if step.if_revision is None else (step.if_revision,))


def _document(step: Put, path: str) -> bytes:
    document = bytes(step.document)
    if document in _NOT_GIVEN or step.value is not None or step.content_type is not None:
        raise Problem("invalid_body", f"{path}: to put a document give `document`, and neither value nor content_type")
    if document[:1] != b"{":
        raise Problem("invalid_body", f"{path}.document: a document is a JSON object")
    if has_reserved_name(document):
        raise Problem("reserved_field", f"{path}.document: {RESERVED_NAMES}")
    return document


def _value(step: Put, path: str) -> bytes:
    if step.value is None or bytes(step.document) not in _NOT_GIVEN:
        raise Problem("invalid_body", f"{path}: to put a raw value give `value` in base64, and no document")
    return base64_of(step.value, f"{path}.value")
