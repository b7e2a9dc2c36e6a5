"""wrk.lua against a server that remembers what it is asked."""

from __future__ import annotations

import asyncio
import base64
import json
from pathlib import Path
from urllib.parse import urlsplit

from collectionstore_bench.generators import programs, running
from collectionstore_bench.generators.load import Load, Work
from collectionstore_testkit.tools import wrk

Request = tuple[str, str, bytes]
OURS = "/api/v1/collections/bench/documents/"


async def requests(dialect: str, load: Load, folder: Path, status: str = "200 OK") -> list[Request]:
    """Return what wrk sends within a second: method, target, body."""
    seen: list[Request] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                method, target, _ = head.split(b"\r\n")[0].decode().split()
                length = head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0]
                seen.append((method, target, await reader.readexactly(int(length or 0))))
                writer.write(f"HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n".encode())
        except (asyncio.IncompleteReadError, ConnectionResetError):
            pass  # wrk has ended
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        filling = running.write_filling(folder)
        command = programs.wrk(wrk.command(), dialect, load, [url], seconds=1, filling=filling)
        printed, _ = await running.run(command, seconds=1)
    result = programs.parse_wrk(printed)
    if status.startswith("2"):
        assert result.requests > 0
        assert result.errors == {}
    else:
        assert result.requests == 0
        assert result.errors["status"] > 0
    return seen


def written_by_key(dialect: str, seen: list[Request]) -> dict[str, bytes]:
    """Return the documents of puts by key."""
    if dialect == "ours":
        return {target.removeprefix(OURS): body for _, target, body in seen}
    bodies = [json.loads(body) for _, _, body in seen]
    return {base64.b64decode(one["key"]).decode(): base64.b64decode(one["value"]) for one in bodies}


async def test_both_stores_are_given_the_same_documents(tmp_path: Path) -> None:
    load = Load(Work.PUT, 2, size=300_000)
    written = {}
    for dialect in ("ours", "etcd"):
        seen = await requests(dialect, load, tmp_path)
        assert {(method, urlsplit(target).path.startswith(OURS)) for method, target, _ in seen} == {
            ("PUT", True) if dialect == "ours" else ("POST", False)
        }
        written[dialect] = written_by_key(dialect, seen)
    shared = written["ours"].keys() & written["etcd"].keys()
    assert shared
    assert {key.removeprefix(load.prefix) for key in shared} <= {f"{number:08d}" for number in range(load.keys)}
    for key in shared:
        document = written["ours"][key]
        assert document == written["etcd"][key]
        assert len(document) == load.size
        assert json.loads(document)["number"] == int(key.removeprefix(load.prefix))


async def test_stale_reads_are_marked_in_both_dialects(tmp_path: Path) -> None:
    ours = await requests("ours", Load(Work.STALE, 1), tmp_path)
    assert {(method, urlsplit(target).query) for method, target, _ in ours} == {("GET", "consistency=stale")}
    etcd = await requests("etcd", Load(Work.STALE, 1), tmp_path)
    assert {target for _, target, _ in etcd} == {"/v3/kv/range"}
    assert all(json.loads(body)["serializable"] is True for _, _, body in etcd)


async def test_a_mixed_load_has_a_fifth_of_puts(tmp_path: Path) -> None:
    seen = await requests("ours", Load(Work.MIXED, 4), tmp_path)
    puts = sum(method == "PUT" for method, _, _ in seen)
    # wrk's numbers come from a seed; how many of them are used depends on the speed.
    assert 0.1 < puts / len(seen) < 0.3


async def test_refused_requests_are_errors(tmp_path: Path) -> None:
    await requests("ours", Load(Work.GET, 1), tmp_path, status="503 Service Unavailable")
