"""`Options`: creating collections with options, and changing the options of one."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from time import perf_counter
from typing import Any, Final, NamedTuple

import orjson

from collectionstore_node.errors import InvalidRequest, NotNow
from collectionstore_node.schemas import CompiledSchema, DefaultsTooLarge, Violation, compile_schema
from collectionstore_node.service.door import Door, Propose
from collectionstore_node.service.idempotency import derived_key
from collectionstore_node.service.operations import (
    DEFAULTS,
    CollectionOptions,
    ConfigureCollection,
    Consistency,
    Ids,
    ReadCollection,
    parse_options,
    shown_options,
)
from collectionstore_node.service.queries import Queries
from collectionstore_node.service.results import Code, Configured, Outcome
from collectionstore_node.statemachine.catalog import find_collection
from collectionstore_node.statemachine.costs import SCHEMA_STEPS_MAX
from collectionstore_node.statemachine.options import Schema, read_options, unversioned, versioned
from collectionstore_node.statemachine.view import View

ATTEMPTS_MAX: Final = 8
"""How often options are read and changed again that others change meanwhile."""


SHOWN_BYTES_MAX: Final = 16 << 10
SHOWN_STEPS_MAX: Final = 2_000
"""Of a larger document, or one that takes more steps, an answer does not say what its schema does not allow: the
validator makes all errors, those of each branch too, before it hands over the first; up to 9 us for a step."""
SHOWN_STEPS_PER_S: Final = 50_000
SHOWN_STEPS_AT_ONCE: Final = 10_000
"""And so many steps for all answers of a member: it is done on the event loop, which must not be held up."""

UNTOLD: Final = Violation("", "schema", "the document is too large to say what the schema does not allow in it")
TOO_COSTLY: Final = Violation("", "schema", f"checking it could take more than {SCHEMA_STEPS_MAX} steps")


class Patched(NamedTuple):
    """What became of a change of options."""

    outcome: Outcome
    configured: Configured
    """The options that the collection has then, or has had before if the change was refused."""


class Options:
    """The options of collections: part of `Store`, whose errors they raise."""

    __slots__ = ("_clock", "_door", "_propose", "_queries", "_told_at", "_untold_steps")

    def __init__(
        self, door: Door, queries: Queries, propose: Propose, clock: Callable[[], float] = perf_counter
    ) -> None:
        """`clock` is monotonic, in seconds."""
        self._door = door
        self._queries = queries
        self._propose = propose
        self._clock = clock
        self._told_at = clock()
        self._untold_steps = float(SHOWN_STEPS_AT_ONCE)

    async def parsed(self, parse: Callable[[], CollectionOptions], *, timeout_s: float) -> CollectionOptions:
        """Return options that `parse` checks, in the thread of queries: a schema takes long to compile."""
        return await self._queries.checked(parse, timeout_s=timeout_s)

    async def create(self, name: str, options: CollectionOptions, *, key: str | None, timeout_s: float) -> Outcome:
        """Create a collection with options. Returns the outcome, whatever its code. Raises `OutcomeUnknown`."""
        return await self._propose(ConfigureCollection(name, options, create=True), key, timeout_s)

    async def patch(
        self, name: str, patch: dict[str, Any], *, expected: int, key: str | None, timeout_s: float
    ) -> Patched:
        """Change options by a merge patch (`merged`), of the options of revision `expected` unless that is 0.

        Raises `InvalidPart` for options that are not allowed, `InvalidRequest("collection_not_found")`, and
        `OutcomeUnknown`.
        """
        deadline = perf_counter() + timeout_s
        request = b"%b\0%d\0%b" % (name.encode(), expected, orjson.dumps(patch))
        for attempt in range(ATTEMPTS_MAX):
            view = await self._door.view(ReadCollection(name), Consistency.LINEARIZABLE, _left(deadline))
            before = configured_of(view, name)
            options = await self.parsed(partial(_patched, before.options, patch), timeout_s=_left(deadline))
            action = ConfigureCollection(name, options, expected or before.revision)
            attempt_key = key if key is None or not attempt else derived_key(key, attempt)
            outcome = await self._propose(action, attempt_key, _left(deadline), request=request)
            if outcome.code is not Code.PRECONDITION_FAILED or expected:
                break
        else:
            raise NotNow("others changed the options each time")
        if outcome.code is not Code.OK:
            return Patched(outcome, before)
        unchanged = unversioned(options) == unversioned(before.options)
        if outcome.replayed or unchanged:
            return Patched(outcome, before)
        return Patched(outcome, Configured(versioned(options, before.options, outcome.revision), outcome.revision))

    def ids_of(self, name: str) -> Ids:
        """Return who makes the IDs of a collection, as this member knows; UUIDv7 if it does not exist."""
        view = self._door.replica.view
        found = find_collection(view, name)
        if found is None or not found.configured:
            return DEFAULTS.ids
        return read_options(view, found.id).options.ids

    def violations(self, name: str, text: bytes) -> list[Violation] | None:
        """Return what the schema of a collection, as this member knows it, does not allow in a document.

        None if it is not known, or would take long to say, or too much was said just now: this runs on the event loop.
        """
        view = self._door.replica.view
        found = find_collection(view, name)
        if found is None or not found.configured or len(text) > SHOWN_BYTES_MAX:
            return None
        if self._door.view_of(name) is not None:
            return None  # it may be about fields that the caller does not see
        schema = read_options(view, found.id).options.schema
        if schema is None:
            return None
        compiled = compile_schema(schema.text)
        steps = compiled.steps(text)
        if steps > SHOWN_STEPS_MAX or not self._may_take(steps):
            return None
        told = violations_in(compiled, schema, text)
        return None if told == [UNTOLD] else told

    def _may_take(self, steps: int) -> bool:
        now = self._clock()
        left = self._untold_steps + SHOWN_STEPS_PER_S * (now - self._told_at)
        self._told_at = now
        allowed = steps <= left
        self._untold_steps = min(left, SHOWN_STEPS_AT_ONCE) - (steps if allowed else 0)
        return allowed


def violations_in(compiled: CompiledSchema, schema: Schema, text: bytes) -> list[Violation]:
    """Return what a schema does not allow in a document, with its defaults; as a whole where telling takes long."""
    document = orjson.loads(text)
    if schema.defaults:
        try:
            if compiled.fill(document):
                text = orjson.dumps(document)
        except DefaultsTooLarge:
            return [TOO_COSTLY]
    steps = compiled.steps(text)
    if steps > SCHEMA_STEPS_MAX:
        return [TOO_COSTLY]
    if compiled.conforms(document):
        return []
    return [UNTOLD] if steps > SHOWN_STEPS_MAX else compiled.violations(document)


def configured_of(view: View, name: str) -> Configured:
    """Return the options of a collection. Raises `InvalidRequest("collection_not_found")`."""
    found = find_collection(view, name)
    if found is None:
        raise InvalidRequest("collection_not_found", f"there is no collection {name!r}")
    return read_options(view, found.id) if found.configured else Configured(DEFAULTS, found.id)


def merged(options: CollectionOptions, patch: dict[str, Any]) -> dict[str, Any]:
    """Return options, as they are shown, with a merge patch (RFC 7396) of two levels: options and their members.

    What is below that is one value, such as the document of a schema: a schema that is merged with another one is none
    of both.
    """
    members = shown_options(options)
    for name, given in patch.items():
        before = members.get(name)
        if type(given) is dict and type(before) is dict:
            inner = {**before, **given}
            members[name] = {key: value for key, value in inner.items() if value is not None}
        else:
            members[name] = given
    return members


def _patched(options: CollectionOptions, patch: dict[str, Any]) -> CollectionOptions:
    return parse_options(merged(options, patch))


def _left(deadline: float) -> float:
    return max(0.001, deadline - perf_counter())
