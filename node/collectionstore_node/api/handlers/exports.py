"""Exports: all documents of a collection that match, as NDJSON or CSV, streamed and of one state."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import msgspec
from aiohttp import hdrs

from collectionstore_node.api.handlers.queries import checked, filter_in_url
from collectionstore_node.api.http.answers import Answer, revision_line
from collectionstore_node.api.http.call import Call
from collectionstore_node.api.http.names import check_text, collection_name
from collectionstore_node.api.http.options import FORMATS
from collectionstore_node.api.http.problems import Problem
from collectionstore_node.api.http.streamed import StreamedAnswer
from collectionstore_node.documents.paths import Path
from collectionstore_node.errors import InvalidPart
from collectionstore_node.porting.ndjson import line_of
from collectionstore_node.porting.tables import COLUMNS_MAX, TableWriter
from collectionstore_node.porting.tally import Tally
from collectionstore_node.service.operations import ExportDocuments, Find
from collectionstore_node.service.queries import parse_find, parse_path
from collectionstore_node.service.results import Record

NDJSON: Final = "application/x-ndjson"
CSV: Final = "text/csv"
_TYPES: Final = {
    "ndjson": b"Content-Type: application/x-ndjson\r\n",
    "csv": b"Content-Type: text/csv; charset=utf-8; header=present\r\n",
}
_HEADERS: Final = b"%bCache-Control: no-store\r\nTrailer: Content-Digest, X-Count\r\n%b"


class Export(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The body of an export."""

    filter: dict[str, Any] = msgspec.field(default_factory=dict)
    fields: list[str] | None = None
    """Paths; all fields without it. CSV needs it: they are its columns."""
    after: str | None = None
    """The ID behind which it begins."""
    format: str | None = None
    hint: str | None = None


async def get(call: Call) -> Answer:
    """Return all documents that match, by ID, as NDJSON or CSV."""
    options = call.options
    filter_ = {} if options.filter is None else filter_in_url(options.filter, call.api.limits.depth_max)
    fields = None if options.fields is None else options.fields.split(",")
    return await _export(call, Export(filter_, fields, options.after_id, options.format, options.hint))


async def post(call: Call) -> Answer:
    """Do as the GET, with the filter and the fields in the body."""
    body = await call.json_struct(Export)
    if body.after is not None:
        check_text(body.after, call.api.limits.key_bytes_max, "document id in after")
    return await _export(call, body)


async def _export(call: Call, body: Export) -> Answer:
    name = collection_name(call.arguments[0])
    kind = _format(call, body.format)
    form, query = await _checked(call, body, kind)
    after = None if body.after is None else (b"", body.after)
    export = await call.api.store.queries.export(
        ExportDocuments(name, query, after), form, consistency=call.options.consistency, timeout_s=call.timeout_s
    )
    answer = StreamedAnswer(_HEADERS % (_TYPES[kind], revision_line(export.revision)), export, trailers=form.trailers)
    answer.stale_since = export.stale_since
    return answer


async def _checked(call: Call, body: Export, kind: str) -> tuple[_Lines | _Rows, Find]:
    """Return how documents are written, and which. Raises `InvalidPart`."""
    if kind == "ndjson":
        projection = None if body.fields is None else dict.fromkeys(body.fields, 1)
        query = await checked(call, body.filter, lambda: parse_find(body.filter, projection=projection, hint=body.hint))
        return _Lines(query), query
    if not body.fields or len(body.fields) > COLUMNS_MAX:
        raise InvalidPart("invalid_projection", "/fields", f"CSV has 1 to {COLUMNS_MAX} fields as columns; name them")
    paths = [parse_path(field, "invalid_projection", f"/fields/{at}") for at, field in enumerate(body.fields)]
    if len({*paths}) < len(paths) or ("_id",) in paths:
        raise InvalidPart("invalid_projection", "/fields", "a field is named once, and _id is the first column anyway")
    query = await checked(call, body.filter, lambda: parse_find(body.filter, hint=body.hint))
    return _Rows(paths), query


def _format(call: Call, given: str | None) -> str:
    """Return the format asked for: by name, else by the Accept header, else NDJSON. Raises `Problem`."""
    given = given or call.options.format
    if given is not None and given not in FORMATS:
        raise Problem("invalid_parameter", f"format is one of {', '.join(FORMATS)}")
    if given is not None:
        return given
    accepted = [one.partition(";")[0].strip().lower() for one in call.request.headers.get(hdrs.ACCEPT, "").split(",")]
    return "csv" if CSV in accepted and NDJSON not in accepted else "ndjson"


class _Counting:
    """Implements the half of `Format` that counts."""

    def __init__(self) -> None:
        self._tally = Tally()

    def took(self, data: bytes, count: int) -> None:
        self._tally.add(data, count)

    def trailers(self) -> bytes:
        """Return the header lines behind the body."""
        return self._tally.digest_line() + b"X-Count: %d\r\n" % self._tally.count


class _Lines(_Counting):
    """Documents as NDJSON, with a trailer as the last line."""

    def __init__(self, query: Find) -> None:
        super().__init__()
        self._query = query

    def begin(self) -> bytes:
        return b""

    def document(self, record: Record, document: dict[str, Any]) -> bytes:
        return line_of(record.id, record.revision, self._query.shown(record.text, document))

    def end(self, revision: int) -> bytes:
        trailer = self._tally.trailer(revision)
        self._tally.add(trailer, 0)
        return trailer


class _Rows(_Counting):
    """Documents as CSV below a header. It has no place for a trailer: number and hash are in header lines behind it."""

    def __init__(self, paths: Sequence[Path]) -> None:
        super().__init__()
        self._writer = TableWriter(paths)

    def begin(self) -> bytes:
        header = self._writer.header()
        self._tally.add(header, 0)
        return header

    def document(self, record: Record, document: dict[str, Any]) -> bytes:
        return self._writer.row(document)

    def end(self, revision: int) -> bytes:
        return b""
