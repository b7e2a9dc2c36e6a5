"""The operations of streams for limits and the audit log: what each kind does, and how one has ended."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from collectionstore_node.api.http.accounting import Ended, trace_id_of
from collectionstore_node.api.http.facts import Facts, facts_of_operation
from collectionstore_node.api.stream.operations import KINDS, Answer, Write

if TYPE_CHECKING:
    from collectionstore_node.api.http.accounting import Accounting
    from collectionstore_node.api.stream.flight import Flight

FACTS: Final[dict[type, Facts]] = {
    kind: facts_of_operation(
        name, write=issubclass(kind, Write), fields=tuple(one.name for one in msgspec.structs.fields(kind))
    )
    for kind, name in KINDS.items()
}
_RESOURCES: Final = ("collection", "bucket")
_IDS: Final = ("id", "key")
_BODIES: Final = ("document", "value", "transaction", "body", "watch")


def begin(accounting: Accounting, flight: Flight) -> None:
    """Let an operation in. Raises `Problem` or `Overloaded`."""
    operation = flight.operation
    facts = FACTS[type(operation)]
    flight.account = account = accounting.begin(facts, _arguments(operation), write=isinstance(operation, Write))
    if account is not None and account.taken.content:
        body = next((getattr(operation, name) for name in _BODIES if hasattr(operation, name)), b"")
        account.keep(b"\n".join(map(bytes, body)) if isinstance(body, list) else _bytes(body))


def ended(accounting: Accounting, flight: Flight, answer: Answer, address: str) -> None:
    """Tell how an operation has ended."""
    operation, account, trace = flight.operation, flight.account, flight.trace
    if account is None and answer.status not in (401, 403):
        return
    body = b"" if answer.body is None else bytes(answer.body)
    sent_bytes = len(body) + len(answer.value or b"")
    if account is not None:
        accounting.leave(account, flight.size_bytes + sent_bytes)
        if not accounting.records(account, answer.status):
            return
        account.action = flight.action
    how = Ended(
        answer.status,
        answer.revision,
        body if answer.status >= 400 else b"",
        operation.request_id or "",
        trace_id_of(operation.traceparent) if trace is None else trace.trace_id,
        flight.size_bytes,
        sent_bytes,
    )
    if account is None:
        accounting.refused(FACTS[type(operation)], _arguments(operation), how, address)
    else:
        accounting.record(account, how, address)


def _arguments(operation: object) -> tuple[str, ...]:
    names = (*(one for one in _RESOURCES if hasattr(operation, one)), *(one for one in _IDS if hasattr(operation, one)))
    return tuple(str(getattr(operation, name)) for name in names)


def _bytes(body: object) -> bytes:
    return b"" if isinstance(body, int) else bytes(body)  # type: ignore[call-overload]  # of Unwatch
