"""Files of the audit log: rotation, restarts, and disks that are full, fail, or lose a file."""

from __future__ import annotations

import itertools
import json
import resource
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from collectionstore_node.audit.files import FileSink
from collectionstore_node.audit.settings import Sync
from collectionstore_node.audit.sinks import SinkFailed
from collectionstore_node.tests.audit.recorded import CHAIN, ORIGIN, event


def made(
    directory: Path, *, bytes_max: int = 1 << 20, files_max: int = 5, sync: Sync = "Always", chain: str = CHAIN
) -> FileSink:
    """Return a sink that writes into a directory."""
    return FileSink(
        directory,
        ORIGIN,
        chain=chain,
        wall_ms=lambda: 0,
        bytes_max=bytes_max,
        files_max=files_max,
        sync=sync,
    )


@pytest.fixture
async def sink(tmp_path: Path) -> AsyncIterator[FileSink]:
    made_sink = made(tmp_path / "audit")
    yield made_sink
    await made_sink.close()


def files(directory: Path) -> list[Path]:
    """Return the files of a log."""
    return sorted(directory.glob("audit-*.ndjson"))


def lines(directory: Path) -> list[dict[str, Any]]:
    """Return all lines of a log, of which each must be chained to the one before it."""
    found = [json.loads(line) for path in files(directory) for line in path.read_bytes().splitlines()]
    for before, line in itertools.pairwise(found):
        assert line["prev"] == before["hash"]
    return found


def sequences(directory: Path) -> list[int]:
    """Return the sequences of all records."""
    return [line["sequence"] for line in lines(directory) if line["type"] != "header"]


@contextmanager
def full(bytes_max: int) -> Iterator[None]:
    """Let no file of this process grow beyond so many bytes: what is written up to there is written, then it fails."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (bytes_max, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("sync", ["Always", "Interval", "Never"])
async def test_records_are_lines_behind_a_header(tmp_path: Path, sync: Sync) -> None:
    sink = made(tmp_path, sync=sync)
    await sink.send([event(1), event(2, user="", content="größer")])
    found = lines(tmp_path)
    assert [one["type"] for one in found] == ["header", "request", "request"]
    assert (found[0]["chain"], found[0]["member"], found[0]["file"], found[0]["sequence"]) == (CHAIN, "demo-0", 1, 1)
    assert found[1]["user"] == "ada"
    assert "user" not in found[2]
    assert found[2]["content"] == "größer"
    assert sink.position.sequence == 2
    assert files(tmp_path)[0].stat().st_mode & 0o777 == 0o600
    await sink.close()


async def test_files_are_begun_by_size_and_kept_by_number(tmp_path: Path) -> None:
    sink = made(tmp_path, bytes_max=900, files_max=3)
    for number in range(1, 41):
        await sink.send([event(number)])
    kept = files(tmp_path)
    assert len(kept) == 3
    assert all(path.stat().st_size < 900 + 600 for path in kept)
    found = sequences(tmp_path)
    assert found == list(range(found[0], 41))
    (tmp_path / "notes.txt").write_text("not ours")
    await sink.close()


async def test_a_member_that_starts_goes_on_in_the_last_file(tmp_path: Path) -> None:
    first = made(tmp_path)
    await first.send([event(1)])
    await first.close()
    second = made(tmp_path, chain="another")
    await second.send([event(2)])
    await second.close()
    assert len(files(tmp_path)) == 1
    assert sequences(tmp_path) == [1, 2]
    assert second.position.chain == CHAIN


async def test_a_part_of_a_line_is_left_where_it_is_and_the_next_file_says_so(tmp_path: Path) -> None:
    first = made(tmp_path)
    await first.send([event(1), event(2)])
    await first.close()
    (path,) = files(tmp_path)
    torn = path.read_bytes() + b'{"type":"req'
    path.write_bytes(torn)
    second = made(tmp_path)
    await second.send([event(3)])
    await second.close()
    assert path.read_bytes() == torn
    header, record = (json.loads(line) for line in files(tmp_path)[1].read_bytes().splitlines())
    assert (header["torn"], header["file"], header["sequence"], record["sequence"]) == (True, 2, 3, 3)


@pytest.mark.parametrize("left", [b"", b'{"type":"head'])
async def test_a_file_that_a_crash_has_left_without_a_header_is_begun_anew(tmp_path: Path, left: bytes) -> None:
    first = made(tmp_path)
    await first.send([event(1)])
    await first.close()
    (tmp_path / "audit-00000002.ndjson").write_bytes(left)
    second = made(tmp_path, bytes_max=1)
    await second.send([event(2)])
    await second.close()
    assert sequences(tmp_path) == [1, 2]


async def test_a_file_that_was_changed_is_followed_by_another_chain(tmp_path: Path) -> None:
    first = made(tmp_path)
    await first.send([event(1)])
    await first.close()
    (path,) = files(tmp_path)
    path.write_bytes(path.read_bytes().replace(b"ada", b"eve"))
    second = made(tmp_path, chain="another")
    await second.send([event(2)])
    await second.close()
    header = json.loads(files(tmp_path)[1].read_bytes().splitlines()[0])
    assert (header["chain"], header["sequence"], header["prev"]) == ("another", 1, "0" * 64)


async def test_a_full_disk_loses_and_repeats_nothing(sink: FileSink, tmp_path: Path) -> None:
    directory = tmp_path / "audit"
    await sink.send([event(1)])
    (path,) = files(directory)
    before = path.read_bytes()
    batch = [event(number) for number in range(2, 9)]
    with full(len(before) + 700):
        # A part of the batch fits, and is cut off again.
        for _ in range(3):
            with pytest.raises(SinkFailed, match="File too large"):
                await sink.send(batch)
            assert path.read_bytes() == before
    await sink.send(batch)
    assert sequences(directory) == list(range(1, 9))


async def test_a_disk_that_is_full_for_a_new_file_has_it_begun_later(tmp_path: Path) -> None:
    sink = made(tmp_path, bytes_max=100)
    await sink.send([event(1)])
    with full(40):
        for _ in range(2):
            with pytest.raises(SinkFailed):
                await sink.send([event(2)])
    await sink.send([event(2)])
    await sink.close()
    assert sequences(tmp_path) == [1, 2]
    assert len(files(tmp_path)) == 2
    assert "torn" not in lines(tmp_path)[2]


async def test_a_directory_that_cannot_be_used_is_a_failure_until_it_can(tmp_path: Path) -> None:
    place = tmp_path / "audit"
    place.write_text("a file is in the way")
    sink = made(place)
    for _ in range(2):
        with pytest.raises(SinkFailed):
            await sink.send([event(1)])
    place.unlink()
    await sink.send([event(1)])
    await sink.close()
    assert sequences(place) == [1]


async def test_a_file_that_another_program_removes_is_not_written_any_more(sink: FileSink, tmp_path: Path) -> None:
    directory = tmp_path / "audit"
    await sink.send([event(1)])
    files(directory)[0].unlink()
    await sink.send([event(2)])
    (path,) = files(directory)
    assert path.name == "audit-00000002.ndjson"
    assert sequences(directory) == [2]
