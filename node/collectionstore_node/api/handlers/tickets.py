"""Writes that are answered before their outcome is known, and the fate of such a write.

A handler calls `decided` in place of the store: an `Answer` that comes back is to be sent as it is.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, TypeAlias

import orjson

from collectionstore_node.api.handlers.write_answers import refusal
from collectionstore_node.api.http.answers import JSON, Answer
from collectionstore_node.api.http.call import Call
from collectionstore_node.api.http.idempotency import idempotency_key
from collectionstore_node.api.http.options import Ack
from collectionstore_node.api.http.preconditions import write_precondition
from collectionstore_node.api.http.problems import KINDS, Problem
from collectionstore_node.errors import OutcomeUnknown
from collectionstore_node.service.idempotency import request_text
from collectionstore_node.service.operations import AnyWrite, Commit, Delete, GuardedTransaction, Ref, Transaction
from collectionstore_node.service.results import Code, Outcome
from collectionstore_node.service.tickets import Fate, parse_ticket

AnyTransaction: TypeAlias = Transaction | GuardedTransaction | Commit

_NO_FACTS: Final[Mapping[str, str]] = {}
_MAY_BE_LOST: Final = {
    Ack.LEADER: "on the leader's disk, and on no other for sure: a change of leader may lose it",
    Ack.QUEUED: "in the memory of this member: a crash of it, or a change of leader, may lose it",
}
_ABSENT: Final = "document_not_found"


async def decided(
    call: Call,
    action: AnyWrite | AnyTransaction,
    idempotency: str | None,
    facts: Mapping[str, str] = _NO_FACTS,
    *,
    timeout_s: float | None = None,
) -> Outcome | Answer:
    """Make a write as the parameter `ack` says; `facts` are added to an early answer. Raises as the store's writes.

    `timeout_s` is what is left of the request's time, if that was not looked at last by the call.
    """
    left_s = call.timeout_s if timeout_s is None else timeout_s
    if call.account is not None:
        call.account.action = action
    store, ack = call.api.store, call.options.ack
    if ack is Ack.MAJORITY:
        match action:
            case GuardedTransaction() | Commit():
                return await store.commits.run(action, key=idempotency, timeout_s=left_s)
            case Transaction():
                return await store.transact(action, key=idempotency, timeout_s=left_s)
        return await store.write(action, key=idempotency, timeout_s=left_s)
    request = None
    if isinstance(action, GuardedTransaction | Commit):
        request = request_text(action)
        action = await store.commits.planned(action, key=idempotency, timeout_s=left_s)
    if ack is Ack.QUEUED:
        told = call.api.metrics.queued
        ticket = store.tickets.queue(action, key=idempotency, timeout_s=left_s, told=told, request=request)
        return _early(ack, ticket, facts)
    outcome, ticket = await store.tickets.early(action, key=idempotency, timeout_s=left_s, request=request)
    if isinstance(outcome, OutcomeUnknown):
        raise Problem("outcome_unknown", f"{outcome}; ask for its fate by its ticket", ticket=ticket)
    return outcome if outcome is not None else _early(ack, ticket, facts)


async def delete_target(call: Call, ref: Ref, facts: Mapping[str, str], *, absent: str) -> Outcome | Answer:
    """Delete `ref` under the request's precondition and key, as `decided`.

    Raises `Problem`, `absent` if there is no `ref`.
    """
    headers = call.request.headers
    remove, key = Delete(ref, write_precondition(headers)), idempotency_key(headers)
    outcome = await decided(call, remove, key, facts)
    if isinstance(outcome, Outcome) and outcome.code is not Code.OK:
        raise refusal(outcome, absent=absent)
    return outcome


def _early(ack: Ack, ticket: str, facts: Mapping[str, str]) -> Answer:
    body = {**facts, "ack": ack.value, "ticket": ticket, "durable": _MAY_BE_LOST[ack]}
    return Answer(202, b"%sLocation: /api/v1/tickets/%s\r\n" % (JSON, ticket.encode()), orjson.dumps(body))


async def get(call: Call) -> Answer:
    """Return the fate of a write. What has had its time is settled: it was applied, or never will be."""
    return await _fate(call, settle=False)


async def settle(call: Call) -> Answer:
    """Settle the fate of a write now, also if it has time left, and return it."""
    return await _fate(call, settle=True)


async def _fate(call: Call, *, settle: bool) -> Answer:
    (text,) = call.arguments
    fate = await call.api.store.tickets.fate(parse_ticket(text), settle=settle, timeout_s=call.timeout_s)
    return Answer(200, b"%sX-Revision: %d\r\n" % (JSON, fate.revision), orjson.dumps(_shown(text, fate)))


def _shown(text: str, fate: Fate) -> dict[str, object]:
    body: dict[str, object] = {"ticket": text, "state": fate.state.value}
    outcome = fate.outcome
    if outcome is None:
        return body
    body["revision"] = outcome.revision
    if outcome.code is Code.OK:
        return body | {"created": outcome.created, "succeeded": outcome.succeeded}
    return body | {"problem": _problem(outcome)}


def _problem(outcome: Outcome) -> dict[str, object]:
    """Return why a write was refused, as a waiting client would have been told, without what only it can place."""
    if outcome.code in _OF_TRANSACTIONS:
        code, detail = _OF_TRANSACTIONS[outcome.code]
        found = Problem(code, detail)
    else:
        found = refusal(outcome, absent=_ABSENT)
    kind = KINDS[found.code]
    members = {name: value for name, value in found.members.items() if name != "errors"}
    return {"code": found.code, "title": kind.title, "status": kind.status, "detail": found.detail} | members


_OF_TRANSACTIONS: Final = {
    Code.TRANSACTION_TOO_LARGE: ("transaction_too_large", "it reads, writes or compares more than a transaction may"),
    Code.COMPARES_TOO_LARGE: ("transaction_too_large", "it compares more than a transaction may"),
    Code.TRANSACTION_CONFLICT: ("transaction_conflict", "what it has read is no longer so"),
    Code.CHANGES_UNKNOWN: ("transaction_conflict", "what has changed since it has read is no longer kept, or too much"),
    Code.REVISION_AHEAD: ("invalid_body", "it states a revision that there is not yet"),
    Code.QUERY_TOO_COSTLY: ("query_too_costly", "its queries look at more than a transaction may"),
}
