"""What a backup reads over HTTP: complete and verifiable, or visibly cut; bounded; for operators only."""

from __future__ import annotations

import asyncio
import gc
import io

import aiohttp
import orjson
import pytest

from collectionstore_node.errors import InvalidRequest, NotLeader, NotNow, Overloaded, StorageFailed
from collectionstore_node.raft.messages import Entry, EntryKind, Index, Term, decode_entry
from collectionstore_node.statemachine.keys import HEADER_KEY
from collectionstore_node.statemachine.view import Writes
from collectionstore_node.storage.snapshot_file import SnapshotStream
from collectionstore_node.tests.api.http_clients import JSON, Client, RawClient
from collectionstore_node.tests.api.memory_replica import Admins, MemoryReplica, RecordedMetrics

STATE = "/api/v1/backup/state"
LOG = "/api/v1/backup/log"


def entry(index: int, data: bytes = b"data") -> Entry:
    return Entry(Index(index), Term(2), EntryKind.COMMANDS, data, bytes(32))


async def filled(client: Client, documents: int = 40) -> None:
    for number in range(documents):
        body = b'{"text": "%s"}' % (b"x" * 500)
        reply = await client.send("PUT", f"/api/v1/collections/people/documents/{number:03}", body, JSON)
        assert reply.status == 201


async def test_the_state_is_a_verified_snapshot_with_a_description(people: Client, replica: MemoryReplica) -> None:
    """Init: some documents. Step: read the state. Check: its bytes verify, and the header line says what it is of."""
    await filled(people)

    reply = await people.send("GET", STATE)

    assert reply.status == 200
    described = orjson.loads(reply.headers["X-Exported-State"])
    stream = SnapshotStream("answer", io.BytesIO(reply.body))
    records = {key: value for chunk in stream.chunks() for key, value in zip(chunk[::2], chunk[1::2], strict=True)}
    assert stream.contents.records == len(records) > 40
    assert (stream.metadata.index, stream.metadata.term) == (described["index"], described["term"]) == (9, 3)
    assert HEADER_KEY in records
    assert described["revision"] == replica.revision == 41
    assert described["cluster_id"] == "shop"
    assert described["leader"] is True
    assert len(described["state_digest"]) == 64
    assert replica.barriers == 1
    assert replica.export is not None
    assert replica.export.closed


async def test_a_stale_read_needs_no_quorum(people: Client, replica: MemoryReplica) -> None:
    replica.read_error = NotLeader()

    (await people.send("GET", STATE)).problem(503, "no_leader")
    assert replica.export is None
    assert (await people.send("GET", f"{STATE}?consistency=stale")).status == 200


@pytest.mark.parametrize("path", [STATE, LOG])
async def test_only_operators_read_everything(people: Client, admins: Admins, path: str) -> None:
    admins.allowed = False

    (await people.send("GET", path)).problem(403, "forbidden")


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("after=-1", "invalid_parameter"),
        ("after=", "invalid_parameter"),
        ("after=1e3", "invalid_parameter"),
        ("after=9999999999999999999", "invalid_parameter"),
        ("after=1&after=2", "invalid_parameter"),
        ("timeout=0s", "invalid_parameter"),
        ("limit=3", "unknown_parameter"),
        ("consistency=stale", "unknown_parameter"),
    ],
)
async def test_odd_parameters_are_refused(people: Client, query: str, code: str) -> None:
    (await people.send("GET", f"{LOG}?{query}")).problem(400, code)


async def test_other_methods_are_refused(people: Client) -> None:
    (await people.send("POST", STATE, b"{}", JSON)).problem(405, "method_not_allowed")


async def test_a_head_sends_no_body_and_releases_the_view(people: Client, replica: MemoryReplica) -> None:
    reply = await people.send("HEAD", STATE)

    assert (reply.status, reply.body) == (200, b"")
    assert "X-Exported-State" in reply.headers
    assert replica.export is not None
    assert replica.export.closed
    assert (await people.send("GET", "/api/v1/cluster")).status == 200


@pytest.mark.parametrize("error", [Overloaded("another client is reading"), NotNow("a snapshot is replacing it")])
async def test_a_node_that_cannot_says_so_before_the_first_byte(
    people: Client, replica: MemoryReplica, error: NotNow
) -> None:
    replica.export_error = error

    problem = (await people.send("GET", STATE)).problem(
        503, "overloaded" if isinstance(error, Overloaded) else "unavailable"
    )
    assert problem["retryable"] is True


@pytest.mark.parametrize("error", [StorageFailed("the disk"), NotNow("too slow")])
async def test_a_state_that_cannot_be_completed_is_cut(
    people: Client, replica: MemoryReplica, error: Exception
) -> None:
    """A status line has gone by then: the connection ends without the last chunk, and the client sees that."""
    await filled(people)
    opened = replica.open_state

    async def failing():  # type: ignore[no-untyped-def]
        export = await opened()
        export.fault = error
        return export

    replica.open_state = failing  # type: ignore[method-assign]

    with pytest.raises(aiohttp.ClientPayloadError):
        await people.send("GET", STATE)
    assert replica.export is not None
    assert replica.export.closed


async def test_an_http_1_0_client_gets_the_bytes_without_chunks(
    people: Client, raw: RawClient, replica: MemoryReplica
) -> None:
    reply = await raw.exchange(b"GET /api/v1/backup/state HTTP/1.0\r\nHost: 127.0.0.1\r\n\r\n")

    head, _, body = reply.partition(b"\r\n\r\n")
    assert b"Transfer-Encoding" not in head
    assert b"Connection: close" in head
    stream = SnapshotStream("answer", io.BytesIO(body))
    assert sum(1 for _ in stream.chunks()) == 1
    assert stream.contents.records > 0


async def test_a_reader_that_stops_gets_no_more_and_its_view_is_released(
    people: Client, port: int, replica: MemoryReplica, metrics: RecordedMetrics
) -> None:
    """Init: a state that no buffer of the kernel holds. Step: read its head, and no more; then hang up.

    Check: nothing is read from the state ahead of the client, and the end of the connection closes the view.
    """
    large = Writes()
    large.values.update({b"\x04%06d" % number: bytes(60_000) for number in range(400)})
    replica.view.commit(large)
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1 << 10)
    writer.write(b"GET /api/v1/backup/state HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
    await reader.readuntil(b"\r\n\r\n")
    export = replica.export
    assert export is not None
    while not metrics.read_unsent():  # noqa: ASYNC110 - turns of the loop, not time: until the answer waits
        await asyncio.sleep(0)
    sent = export.sent

    assert sent < 400
    assert not export.closed
    writer.transport.abort()
    await export.ended.wait()
    assert export.sent == sent


async def test_the_log_comes_with_where_it_ends(people: Client, replica: MemoryReplica) -> None:
    replica.entries = [entry(4), entry(5, b"x" * 300)]

    reply = await people.send("GET", f"{LOG}?after=4&timeout=2s")

    assert reply.status == 200
    assert decode_entry(reply.body[4:]) == replica.entries[1]
    assert int.from_bytes(reply.body[:4], "big") == len(reply.body) - 4
    assert reply.headers["X-Log-Last"] == "5"
    assert reply.headers["X-Log-Applied"] == "9"
    assert reply.headers["X-Log-Entries"] == "1"
    assert replica.timeouts_s[-1] == 2


async def test_an_empty_answer_repeats_the_index(people: Client) -> None:
    reply = await people.send("GET", f"{LOG}?after=9&timeout=1ms")

    assert (reply.status, reply.body, reply.headers["X-Log-Last"]) == (200, b"", "9")


async def test_a_compacted_log_is_gone(people: Client, replica: MemoryReplica) -> None:
    replica.export_error = InvalidRequest("compacted", "the log of this member begins at index 100")

    assert (await people.send("GET", f"{LOG}?after=4")).problem(410, "compacted")["retryable"] is False


async def test_an_answer_that_is_never_sent_releases_its_view(people: Client, replica: MemoryReplica) -> None:
    """A request whose ID is not allowed is refused behind its handler."""
    reply = await people.send("GET", STATE, headers={"X-Request-Id": "x" * 4000})

    gc.collect()
    assert replica.export is not None
    assert replica.export.closed
    assert reply.status in (200, 400)
