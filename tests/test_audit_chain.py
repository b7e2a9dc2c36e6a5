"""What a member writes into its audit log, `csctl audit verify` finds sound; and what was changed of it, it finds."""

from __future__ import annotations

import asyncio
import io
import json
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from random import Random
from typing import IO

import pytest
from click.testing import CliRunner

from collectionstore.audit.commands import audit
from collectionstore.audit.verification import Anchor, Report, parse_anchor, verify
from collectionstore.csctl import main
from collectionstore_node.audit.chain import Origin, Position, append, begin_file, position_behind
from collectionstore_node.audit.events import Dropped, Event
from collectionstore_node.audit.files import FileSink

ORIGIN = Origin("cluster", "demo-0")
CHAIN = "00112233"


def event(number: int, **members: object) -> Event:
    """Return what is recorded of a request."""
    given: dict[str, object] = {
        "at_ms": 1_796_000_000_000 + number,
        "user": "ada",
        "verb": "write",
        "operation": "PUT /api/v1/collections/{collection}/documents/{id}",
        "kind": "collection",
        "resource": "books",
        "id": f"d{number}",
        "outcome": "ok",
        "status": 200,
        "revision": number,
    }
    return Event(**{**given, **members})  # type: ignore[arg-type]


def written(*sizes: int, first: Position | None = None, torn: bool = False) -> list[list[bytes]]:
    """Return the lines of a log with files of so many records."""
    position, number = first or Position(CHAIN), 0
    files: list[list[bytes]] = []
    for size in sizes:
        line, position = begin_file(position, ORIGIN, 0, torn=torn and bool(files))
        lines = [line]
        for _ in range(size):
            number += 1
            line, position = append(position, event(number))
            lines.append(line)
        files.append(lines)
    return files


def checked(files: list[list[bytes]], *anchors: Anchor) -> Report:
    """Verify files that have these lines."""
    opened: list[tuple[str, IO[bytes]]] = [
        (f"audit-{at:08}.ndjson", io.BytesIO(b"".join(lines))) for at, lines in enumerate(files, 1)
    ]
    return verify(opened, anchors)


def kinds(report: Report) -> list[str]:
    """Return the kinds of the problems that were found."""
    return [one.kind for one in report.problems]


def test_a_log_is_sound_in_any_order_of_its_files() -> None:
    files = written(3, 0, 5, 1)
    report = checked(files)
    assert report.sound
    assert (report.files, report.records, report.first, report.last) == (4, 9, 1, 9)
    assert checked(files[::-1]).sound
    assert checked([files[2], files[0], files[3], files[1]]).hash == report.hash


def test_files_that_were_removed_in_time_are_no_problem() -> None:
    report = checked(written(3, 4, 5)[1:])
    assert report.sound
    assert (report.first, report.last) == (4, 12)


def test_texts_of_all_kinds_are_sound() -> None:
    random = Random(7)
    position = Position(CHAIN)
    line, position = begin_file(position, ORIGIN, 0)
    lines = [line]
    odd = ("\u2028", "\U0001f600", "\x7f", '"', "\\", "\0", "\ufffd")
    for number in range(300):
        text = "".join(
            random.choice((*odd, chr(random.randrange(0x20)), chr(random.randrange(0xD800)))) for _ in range(9)
        )
        line, position = append(position, event(number, user=text, content=text, id=text))
        assert line.count(b"\n") == 1
        lines.append(line)
    assert checked([lines]).sound


def _edit(files: list[list[bytes]]) -> None:
    files[1][2] = files[1][2].replace(b'"user":"ada"', b'"user":"eve"')


def _edit_with_its_hash(files: list[list[bytes]]) -> None:
    fields = json.loads(files[1][2])
    position = Position(CHAIN, 2, fields["sequence"] - 1, fields["prev"])
    files[1][2] = append(position, event(fields["sequence"], user="eve"))[0]


def _respell(files: list[list[bytes]]) -> None:
    files[0][1] = files[0][1].replace(b'"status":200', b'"status": 200')


def _remove(files: list[list[bytes]]) -> None:
    del files[1][2]


def _repeat(files: list[list[bytes]]) -> None:
    files[1].insert(3, files[1][2])


def _swap(files: list[list[bytes]]) -> None:
    files[0][1], files[0][2] = files[0][2], files[0][1]


def _cut_head(files: list[list[bytes]]) -> None:
    del files[1][0]


def _cut_end(files: list[list[bytes]]) -> None:
    del files[0][-1]


def _cut_line(files: list[list[bytes]]) -> None:
    files[-1][-1] = files[-1][-1][:-9]


def _cut_file(files: list[list[bytes]]) -> None:
    del files[1]


def _add(files: list[list[bytes]]) -> None:
    files[0].insert(2, b'{"type":"request","sequence":2}\n')


def _add_garbage(files: list[list[bytes]]) -> None:
    files[0].insert(1, b"\x00\xff[[[" * 999 + b"\n")


def _another_member(files: list[list[bytes]]) -> None:
    files[1][0] = begin_file(Position(CHAIN, 1, 3, json.loads(files[1][0])["prev"]), Origin("cluster", "demo-1"), 0)[0]


def _given_twice(files: list[list[bytes]]) -> None:
    files.append(files[1])


def _another_chain(files: list[list[bytes]]) -> None:
    files[2:] = written(2, first=Position("other", 2))


@pytest.mark.parametrize(
    ("change", "kind"),
    [
        (_edit, "edited"),
        (_edit_with_its_hash, "unchained"),
        (_respell, "edited"),
        (_remove, "missing"),
        (_repeat, "reordered"),
        (_swap, "reordered"),
        (_cut_head, "headless"),
        (_cut_end, "missing"),
        (_cut_line, "torn"),
        (_cut_file, "missing"),
        (_add, "unknown"),
        (_add_garbage, "unknown"),
        (_another_member, "unknown"),
        (_given_twice, "reordered"),
        (_another_chain, "unchained"),
    ],
)
def test_what_was_changed_is_found_where_it_is(change: Callable[[list[list[bytes]]], None], kind: str) -> None:
    files = written(3, 4, 5)
    change(files)
    report = checked(files)
    assert kind in kinds(report)


def test_one_edited_record_is_one_problem() -> None:
    files = written(3, 4)
    _edit(files)
    (problem,) = checked(files).problems
    assert (problem.file, problem.line, problem.kind) == ("audit-00000002.ndjson", 3, "edited")


def test_every_byte_counts() -> None:
    files = written(2)
    for row, line in enumerate(files[0]):
        for at in range(len(line)):
            changed = [*files[0]]
            changed[row] = line[:at] + bytes((line[at] ^ 1,)) + line[at + 1 :]
            assert not checked([changed], Anchor(2, json.loads(files[0][2])["hash"])).sound


def test_an_end_that_was_cut_off_is_shown_by_an_anchor() -> None:
    files = written(3, 4)
    last = json.loads(files[1][-1])
    anchor = Anchor(last["sequence"], last["hash"])
    assert checked(files, anchor).sound
    del files[1][-2:]
    assert checked(files).sound  # nothing in it tells
    assert kinds(checked(files, anchor)) == ["anchor"]
    assert "its end is cut off" in checked(files, anchor).problems[0].detail


def test_a_log_that_was_made_anew_is_shown_by_an_anchor() -> None:
    known = json.loads(written(5)[0][3])
    position = Position(CHAIN)
    line, position = begin_file(position, ORIGIN, 0)
    lines = [line]
    for number in range(5):
        line, position = append(position, event(number, user="eve"))
        lines.append(line)
    assert checked([lines]).sound
    assert kinds(checked([lines], Anchor(known["sequence"], known["hash"]))) == ["anchor"]


def test_a_part_of_a_line_that_a_crash_has_left_is_no_problem_if_the_next_file_says_so() -> None:
    files = written(3, 4, torn=True)
    files[0].append(files[0][-1][:40])
    assert checked(files).sound
    files = written(3, 4)
    files[0].append(files[0][-1][:40])
    assert kinds(checked(files)) == ["torn"]


def test_what_a_member_has_lost_is_said() -> None:
    line, position = begin_file(Position(CHAIN), ORIGIN, 0)
    lost, _ = append(position, Dropped(0, 17))
    report = checked([[line, lost]])
    assert report.sound
    assert report.dropped == 17


@pytest.mark.parametrize(
    "content", [b"", b"\n", b"{}", b"null\n", b"[" * 2_000_000 + b"\n", b"a" * 3_000_000, b"\x80\n"]
)
def test_what_is_no_log_is_said_to_be_none(content: bytes) -> None:
    report = verify([("x", io.BytesIO(content))])
    assert not report.sound


def test_problems_are_bounded() -> None:
    report = verify([("x", io.BytesIO(b"{}\n" * 5_000))])
    assert len(report.problems) == 1_000
    assert report.more > 3_000


def test_a_member_goes_on_where_a_file_ends() -> None:
    (lines,) = written(2)
    position = position_behind(lines[0], lines[-1])
    assert position is not None
    assert position == Position(CHAIN, 1, 2, json.loads(lines[-1])["hash"])
    assert position_behind(lines[0], lines[0]) == Position(CHAIN, 1, 0, json.loads(lines[0])["hash"])
    for broken in (b"", b"{}\n", lines[-1][:-1], lines[-1].replace(b"ada", b"eve")):
        assert position_behind(lines[0], broken) is None
        assert position_behind(broken, lines[-1]) is None


@pytest.mark.parametrize(
    "text", ["", "1", ":", "1:", "x:" + "0" * 64, "1:" + "0" * 63, "-1:" + "0" * 64, "1:" + "G" * 64]
)
def test_an_anchor_has_a_form(text: str) -> None:
    with pytest.raises(ValueError, match="SEQUENCE:HASH"):
        parse_anchor(text)


def test_the_command_says_what_it_found(tmp_path: Path) -> None:
    runner = CliRunner()
    files = written(3, 4)
    first, second = tmp_path / "audit-1.ndjson", tmp_path / "audit-2.ndjson"
    first.write_bytes(b"".join(files[0]))
    second.write_bytes(b"".join(files[1]))
    sound = runner.invoke(main, ["audit", "verify", str(first), str(second)])
    assert sound.exit_code == 0, sound.output
    assert "2 files, records 1 to 7" in sound.output
    hash_of_last = json.loads(files[1][-1])["hash"]
    assert f"anchor of the last record: 7:{hash_of_last}" in sound.output
    anchored = runner.invoke(audit, ["verify", "--anchor", f"9:{hash_of_last}", str(first), "-o", "json"])
    assert anchored.exit_code == 1
    assert json.loads(anchored.stdout)["problems"][0]["kind"] == "anchor"
    _edit(files)
    second.write_bytes(b"".join(files[1]))
    edited = runner.invoke(main, ["audit", "verify", str(second), str(first)])
    assert edited.exit_code == 1
    assert f"{second}:3: edited" in edited.output
    assert runner.invoke(audit, ["verify", "--anchor", "nonsense", str(first)]).exit_code == 2
    assert runner.invoke(audit, ["verify"]).exit_code == 2
    assert runner.invoke(audit, ["verify", str(tmp_path / "absent")]).exit_code == 2


async def _write(sink: FileSink, numbers: range) -> FileSink:
    for number in numbers:
        await sink.send([event(number)])
    await sink.close()
    return sink


def _verified(paths: list[Path]) -> Report:
    with ExitStack() as stack:
        return verify([(path.name, stack.enter_context(path.open("rb"))) for path in paths])


def test_files_of_a_member_are_sound_across_rotation_restarts_and_a_torn_end(tmp_path: Path) -> None:
    for start in range(6):
        sink = FileSink(tmp_path, ORIGIN, chain=CHAIN, wall_ms=lambda: 0, bytes_max=2_000, files_max=100, sync="Never")
        member = asyncio.run(_write(sink, range(7 * start + 1, 7 * start + 8)))
        if start == 3:
            with max(tmp_path.glob("audit-*.ndjson")).open("ab") as file:
                file.write(b'{"a crash":')
    paths = sorted(tmp_path.glob("audit-*.ndjson"))
    assert len(paths) > 5
    report = _verified(paths)
    assert report.problems == []
    assert (report.records, report.first, report.last) == (42, 1, 42)
    assert (report.last, report.hash) == (member.position.sequence, member.position.hash)
    del paths[2]
    assert kinds(_verified(paths)) == ["missing"]
