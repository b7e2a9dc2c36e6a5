"""Imports: a body of any length, as NDJSON or CSV, applied in batches while it arrives."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Generator, Sequence
from typing import Any, Final, cast

import orjson
from aiohttp import hdrs

from collectionstore_node.api.handlers.bulk import TYPES as NDJSON_TYPES
from collectionstore_node.api.handlers.write_answers import Written, refusal
from collectionstore_node.api.http.answers import JSON, Answer, Outlet
from collectionstore_node.api.http.bodies import BodyStream
from collectionstore_node.api.http.call import Call
from collectionstore_node.api.http.idempotency import idempotency_key
from collectionstore_node.api.http.json_bodies import at_once, compact_json, compact_json_steps
from collectionstore_node.api.http.json_windows import Rules
from collectionstore_node.api.http.names import check_key, collection_name
from collectionstore_node.api.http.options import IMPORT_MODES, mode_of
from collectionstore_node.api.http.preconditions import write_precondition
from collectionstore_node.api.http.problems import KINDS, Problem, problem_of, render
from collectionstore_node.api.http.streamed import StreamedAnswer
from collectionstore_node.errors import InvalidRequest, NodeError, NotNow
from collectionstore_node.porting.cells import CellType
from collectionstore_node.porting.ndjson import Identified, identified
from collectionstore_node.porting.records import Records
from collectionstore_node.porting.tables import Header, document_of, parse_header, parse_record
from collectionstore_node.porting.tally import Tally, Trailer, parse_trailer
from collectionstore_node.service import Work
from collectionstore_node.service.idempotency import derived_key
from collectionstore_node.service.imports import BATCH_BYTES, BATCH_LINES, Applied, Line, Mode, Refused
from collectionstore_node.service.operations import ANY, Insert
from collectionstore_node.service.results import Code

CSV_TYPE: Final = "text/csv"
RECORD_BYTES: Final = 16 << 10
"""What a line may have beside a document of the largest size: its ID, and white space."""
PARSED_BYTES: Final = 32 << 10
RECORD_COST_BYTES: Final = 2 << 10
"""How much is parsed in one step, each line counted as this more."""
PROGRESS_S: Final = 1.0
"""Between two lines of progress."""

_PROGRESS: Final = b"Content-Type: application/x-ndjson\r\nCache-Control: no-store\r\n"
_OF_ONE_REQUEST: Final = ("instance", "request_id")


async def post(call: Call) -> Answer:
    """Insert, replace or skip the documents of the body, in batches; 207 if lines failed, or with `progress`."""
    collection = collection_name(call.arguments[0])
    headers, options = call.request.headers, call.options
    if write_precondition(headers) is not ANY:
        raise Problem("invalid_precondition", "`mode` says what becomes of documents that exist")
    key = idempotency_key(headers)
    mode = Mode(mode_of(options, IMPORT_MODES, Mode.INSERT.value))
    kind = (headers.get(hdrs.CONTENT_TYPE) or "none").partition(";")[0].strip().lower()
    if kind != CSV_TYPE and kind not in NDJSON_TYPES:
        raise Problem("unsupported_content_type", f"Content-Type must be {NDJSON_TYPES[0]} or {CSV_TYPE}")
    if options.types is not None and kind != CSV_TYPE:
        raise Problem("invalid_parameter", f"types are for {CSV_TYPE}")
    types = None if kind != CSV_TYPE else _types(options.types)
    imports = call.api.store.imports
    imports.enter()
    try:
        running = _Import(call, collection, mode, key, types, await call.body_stream())
    except BaseException:
        imports.leave()
        raise
    if options.progress:
        return StreamedAnswer(_PROGRESS, running, status=207)
    try:
        async for _ in running.batches():
            pass
        return running.answer()
    finally:
        running.close()


class _Import:
    """One import; with `progress`, the body of its answer."""

    def __init__(
        self,
        call: Call,
        collection: str,
        mode: Mode,
        key: str | None,
        types: dict[str, CellType] | None,
        stream: BodyStream,
    ) -> None:
        """`types` are those of columns of CSV, None for NDJSON."""
        limits = call.api.store.limits
        self._call = call
        self._store = call.api.store
        self._collection = collection
        self._mode = mode
        self._key = key
        self._types = types
        self._document_bytes_max = limits.document_bytes_max
        self._rules = Rules(call.api.limits.depth_max, names_depth=0 if types is None else 1)
        self._records = Records(quotes=types is not None, bytes_max=limits.document_bytes_max + RECORD_BYTES)
        self._stream = stream
        self._outlet = cast(Outlet, call.request.protocol)
        self._ended_before = self._outlet.ending
        self._gathered: list[tuple[int, bytes]] = []
        self._size = 0
        self._header: Header | None = None
        self._tally = Tally()
        self._trailer: Trailer | None = None
        self._total = Applied()
        self._lines = 0
        """The number of the last line that is done."""
        self._failed = 0
        self._errors: list[dict[str, Any]] = []
        self._closed = False

    def close(self) -> None:
        """Give back the place of the import; a second time is nothing."""
        if not self._closed:
            self._closed = True
            self._store.imports.leave()

    async def batches(self) -> AsyncIterator[None]:
        """Apply the body, and yield behind each batch. Raises `Problem` that says how far it came."""
        try:
            complete = False
            while True:
                if not self._gather() and not complete:
                    complete = not await self._stream.read(self._take)
                    if complete:
                        self._records.end()
                        self._gather()
                if not self._gathered:
                    break
                await self._batch()
                if self._outlet.ending and not (self._ended_before or self._outlet.half_closed):
                    raise NotNow("the node stops")
                yield
            self._check_end()
        except Problem as problem:
            raise self._ended(problem) from None
        except NodeError as error:
            raise self._ended(problem_of(error, safe_to_repeat=self._key is not None)) from error

    async def pieces(self) -> AsyncIterator[bytes]:
        """Yield lines of progress, and at last the result or the problem."""
        clock = asyncio.get_running_loop().time
        told = clock()
        try:
            async for _ in self.batches():
                if clock() - told >= PROGRESS_S:
                    told = clock()
                    yield b'{"progress":%s}\n' % orjson.dumps(self._counts())
        except Problem as problem:
            yield b'{"problem":%s}\n' % orjson.dumps(self._rendered(problem))
            return
        yield b'{"result":%s}\n' % orjson.dumps(self._facts())

    def answer(self) -> Answer:
        """Return the answer to an import that came to its end: 207 if lines failed."""
        lines = b"%bX-Revision: %d\r\n" % (JSON, self._revision)
        return Answer(207 if self._failed else 200, lines, orjson.dumps(self._facts()))

    # What arrives

    def _take(self, data: bytes) -> bool:
        self._records.feed(data)
        return self._gather()

    def _gather(self) -> bool:
        """Add records that have arrived to the batch; return whether it is full."""
        gathered = self._gathered
        while len(gathered) < BATCH_LINES and self._size < BATCH_BYTES:
            record = self._records.take()
            if record is None:
                return False
            gathered.append((self._records.number, record))
            self._size += len(record)
        return True

    # A batch

    async def _batch(self) -> None:
        """Apply what was gathered."""
        gathered, self._gathered, self._size = self._gathered, [], 0
        timeout_s = self._call.timeout_s
        lines = await self._store.in_steps(Work.BODY, self._parsed(gathered), timeout_s=timeout_s)
        self._check_errors()
        if lines:
            applied = await self._store.imports.batch(
                self._collection,
                lines,
                self._mode,
                key=None if self._key is None else derived_key(self._key, f"batch {gathered[0][0]}"),
                identity=self._identity(gathered),
                errors_max=self._call.options.max_errors - self._failed,
                timeout_s=timeout_s,
            )
            self._add(applied)
        self._check_errors()
        self._lines = max(self._lines, gathered[-1][0])

    def _parsed(self, gathered: Sequence[tuple[int, bytes]]) -> Generator[None, None, list[Line]]:
        """Return the lines of a batch that are to be applied; those with mistakes are among the errors then."""
        lines: list[Line] = []
        work = 0
        for number, record in gathered:
            work += RECORD_COST_BYTES + len(record)
            if work > PARSED_BYTES:
                work = 0
                yield
            if self._types is not None and self._header is None:
                # What is wrong with it is wrong with all lines.
                if parse_record(record):
                    self._header = parse_header(record, self._types)
                continue
            try:
                line = yield from self._line(number, record)
            except Problem as problem:
                self._refuse(number, problem)
            except InvalidRequest as error:
                self._refuse(number, problem_of(error, safe_to_repeat=True))
            else:
                if line is not None:
                    lines.append(line)
        return lines

    def _line(self, number: int, record: bytes) -> Generator[None, None, Line | None]:
        """Return a line that is to be applied, None for one that is not. Raises `Problem` or `InvalidRequest`."""
        found = self._row(number, record) if self._header is not None else (yield from self._object(number, record))
        if found is None:
            return None
        name, text = found
        if self._header is not None:
            text = yield from self._compact(text)
        if len(text) > self._document_bytes_max:
            most = self._document_bytes_max
            raise Problem("too_large", f"the document has {len(text)} bytes; at most {most}", limit_bytes=most)
        if name is None:
            if self._mode is Mode.REPLACE:
                raise Problem("invalid_body", "without _id there is nothing to replace")
            name, made = self._store.insertion(
                self._collection, text, None if self._key is None else derived_key(self._key, number)
            )
            if isinstance(made, Insert):
                raise Problem("id_not_allowed", "a sequence numbers no documents of an import; give _id, or use :bulk")
        return Line(number, check_key(name, self._call.api.limits.key_bytes_max, "document id"), text)

    def _row(self, number: int, record: bytes) -> Identified | None:
        if self._header is None or number <= self._call.options.skip:
            return None
        return document_of(self._header, record)

    def _object(self, number: int, record: bytes) -> Generator[None, None, Identified | None]:
        if not record.strip():
            return None
        if number <= self._call.options.skip:
            self._tally.add(record + b"\n")
            return None
        if self._trailer is not None:
            raise Problem("invalid_body", "a trailer is the last line, and this one is behind it")
        try:
            text = yield from self._compact(record)
        except Problem:
            self._tally.add(record + b"\n")
            raise
        self._trailer = parse_trailer(text)
        if self._trailer is not None:
            return None
        self._tally.add(record + b"\n")
        return identified(text)

    def _compact(self, text: bytes) -> Generator[None, None, bytes]:
        if at_once(text):
            return compact_json(text, self._rules)
        return (yield from compact_json_steps(text, self._rules))

    def _identity(self, gathered: Sequence[tuple[int, bytes]]) -> bytes:
        """Return what a repeated batch must be equal in."""
        parts = ["import", self._collection, self._mode.value, self._call.options.types or ""]
        digest = hashlib.sha256("\0".join(parts).encode())
        for _, record in gathered:
            digest.update(b"\0%d\0" % len(record))
            digest.update(record)
        return digest.digest()

    # What became of it

    @property
    def _revision(self) -> int:
        return self._total.revision or self._store.revision

    def _add(self, applied: Applied) -> None:
        total = self._total
        total.inserted += applied.inserted
        total.replaced += applied.replaced
        total.skipped += applied.skipped
        total.revision = max(total.revision, applied.revision)
        for one in applied.refused:
            problem = self._refusal(one)
            self._refuse(one.line.number, problem, id=one.line.id)
        if applied.refused_before:
            total.refused_before += applied.refused_before
            self._failed += applied.refused_before
        if applied.failed is not None:
            raise refusal(applied.failed, absent="document_not_found")

    def _refusal(self, one: Refused) -> Problem:
        if one.outcome.code is not Code.PRECONDITION_FAILED:
            document = Written(self._store, self._collection, one.line.document)
            return refusal(one.outcome, absent="document_not_found", document=document)
        if self._mode is Mode.REPLACE:
            return Problem("document_not_found", "there is no document with this ID to replace")
        return Problem("document_exists", "there is a document with this ID already")

    def _refuse(self, number: int, problem: Problem, **members: object) -> None:
        """Note that a line failed; as many are kept as may fail."""
        self._failed += 1
        if len(self._errors) > self._call.options.max_errors:
            return
        # Each line is parsed alone, and has one line.
        detail = problem.detail.removeprefix("line 1 ")
        facts = {"line": number, "status": KINDS[problem.code].status, "code": problem.code, "detail": detail}
        self._errors.append(facts | members | {name: problem.members[name] for name in _KEPT & problem.members.keys()})

    def _check_errors(self) -> None:
        most = self._call.options.max_errors
        if self._failed > most:
            raise Problem("too_many_errors", f"{self._failed} lines failed; max_errors={most} are allowed")

    def _check_end(self) -> None:
        if self._types is not None and self._header is None:
            raise Problem("invalid_body", "CSV begins with a header: the names of its columns")
        if self._trailer is not None:
            self._tally.check(self._trailer)
        elif self._call.options.trailer_required:
            raise Problem("trailer_mismatch", "the body has no trailer: it was cut, or is no export")

    def _ended(self, problem: Problem) -> Problem:
        """Return the problem of an import that came to no good end, with what is done."""
        problem.members |= self._facts()
        total = self._total
        if (total.inserted or total.replaced) and problem.outcome is None and problem.code != "outcome_unknown":
            problem.outcome = "applied"
        if KINDS[problem.code].retryable or problem.code == "outcome_unknown":
            again = "send it again with the same Idempotency-Key" if self._key else "read back before sending it again"
            problem.detail = f"{problem.detail}; {self._lines} lines are done: {again}"
        return problem

    def _counts(self) -> dict[str, int]:
        total = self._total
        return {
            "lines": self._lines,
            "inserted": total.inserted,
            "replaced": total.replaced,
            "skipped": total.skipped,
            "failed": self._failed,
        }

    def _facts(self) -> dict[str, Any]:
        facts: dict[str, Any] = {**self._counts(), "errors": self._errors}
        if self._total.refused_before:
            # Their batch was sent before: which lines they are was told then.
            facts["failed_before"] = self._total.refused_before
        return {**facts, "revision": self._revision}

    def _rendered(self, problem: Problem) -> dict[str, Any]:
        rendered = orjson.loads(render(problem, request_id="", revision=self._revision).content)
        return {name: rendered[name] for name in rendered if name not in _OF_ONE_REQUEST}


_KEPT: Final = frozenset(("index", "conflicting_id", "limit_bytes", "errors"))
"""What an error of a line has of a problem, besides code and detail."""


def _types(given: str | None) -> dict[str, CellType]:
    """Return the types that `age:number,name:string` names. Raises `Problem`."""
    types: dict[str, CellType] = {}
    known = {kind.value: kind for kind in CellType}
    for one in (given or "").split(",") if given else ():
        name, colon, kind = one.rpartition(":")
        if not colon or not name or kind not in known or name in types:
            raise Problem(
                "invalid_parameter", f"types is a list as in age:number,name:string; known are {', '.join(known)}"
            )
        types[name] = known[kind]
    return types
