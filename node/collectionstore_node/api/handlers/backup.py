"""What a backup reads of a member: the whole state at one revision, and the committed log. For operators only."""

from __future__ import annotations

from typing import Final

import msgspec

from collectionstore_node.access.verbs import Verb
from collectionstore_node.api.http.answers import Answer, revision_line
from collectionstore_node.api.http.call import Call
from collectionstore_node.api.http.streamed import StreamedAnswer
from collectionstore_node.service.exports import ReadLog
from collectionstore_node.service.membership import Index

_HEADERS: Final = b"Content-Type: application/octet-stream\r\nCache-Control: no-store\r\n"
_encode = msgspec.json.Encoder().encode


async def state(call: Call) -> Answer:
    """Return the state at one applied index, as a snapshot file: its end verifies it, so no part passes for all."""
    call.require_operator("reading the whole state", Verb.BACKUP)
    described, export = await call.api.store.backups.open_state(
        consistency=call.options.consistency, timeout_s=call.timeout_s
    )
    lines = _HEADERS + b"X-Exported-State: %b\r\n" % _ascii(described) + revision_line(described.revision)
    return StreamedAnswer(lines, export)


async def log(call: Call) -> Answer:
    """Return committed entries behind `after`; with none yet, wait for as long as `timeout`."""
    call.require_operator("reading the log", Verb.BACKUP)
    found = await call.api.store.backups.committed_log(ReadLog(Index(call.options.after)), timeout_s=call.timeout_s)
    lines = b"X-Log-Last: %d\r\nX-Log-Applied: %d\r\nX-Log-Entries: %d\r\n" % (found.last, found.applied, found.entries)
    return Answer(200, _HEADERS + lines + revision_line(found.revision), found.data)


def _ascii(value: object) -> bytes:
    """Return JSON for a header line: what is not ASCII as escapes."""
    return _encode(value).decode().encode("ascii", errors="backslashreplace")
