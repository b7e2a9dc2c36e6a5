"""Imports and exports: complete or not at all, and gone on with where they were interrupted."""

from __future__ import annotations

import gzip
import hashlib
import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from collectionstore.data import exporting, import_run, porting_state
from collectionstore.data.porting_state import ExportState, ImportState
from collectionstore.errors import ConnectionFailure
from collectionstore.runtime.lines import LineFeed
from collectionstore.tests.data.running import Csctl


def lines(count: int) -> str:
    return "".join(f'{{"_id":"d{at:05}","n":{at}}}\n' for at in range(count))


def states(csctl: Csctl) -> list[Path]:
    return list((csctl.folder / "state" / "collectionstore" / "imports").glob("*.json"))


def test_what_was_exported_is_imported(csctl: Csctl, books: str, tmp_path: Path) -> None:
    exported = csctl.ok("export", books)
    *documents, trailer = exported.lines
    digest = hashlib.sha256("".join(f"{one}\n" for one in documents).encode()).hexdigest()
    proof = json.loads(trailer)["_trailer"]
    assert (proof["count"], proof["sha256"]) == (3, digest)

    csctl.ok("import", f"{books}-copy", "--create", "--trailer", stdin=exported.out)
    copied = csctl.documents(f"{books}-copy")
    for one in (*copied, *(original := csctl.documents(books))):
        del one["_revision"]
    assert copied == original
    cut = csctl("import", f"{books}-copy", "--mode", "upsert", "--trailer", stdin="\n".join(documents))
    assert (cut.code, "trailer_mismatch" in cut.err) == (3, True)


def test_files_and_csv(csctl: Csctl, books: str, tmp_path: Path) -> None:
    file = tmp_path / "books.csv"
    csctl.ok("export", books, str(file), "--fields", "title,year", "-w", "year>1900")
    assert file.read_bytes() == b"_id,title,year\r\ndune,Dune,1965\r\nhobbit,The Hobbit,1937\r\n"
    assert (
        "2 documents" in csctl.ok("export", books, str(file), "--fields", "title,year", "-w", "year>1900", "--yes").err
    )
    done = csctl.ok("import", books, str(file), "--mode", "upsert", "-o", "json").json
    # The header is a line, too.
    assert (done["lines"], done["replaced"]) == (3, 2)
    packed = tmp_path / "more.ndjson.gz"
    packed.write_bytes(gzip.compress(b'{"_id":"zipped"}\n'))
    csctl.ok("import", books, str(packed))
    assert csctl.ok("count", books, "_id=zipped").out == "1\n"
    assert sorted(one.name for one in tmp_path.iterdir() if one.name != "state") == ["books.csv", "more.ndjson.gz"]
    assert states(csctl) == []


def test_lines_that_fail_are_told(csctl: Csctl, books: str) -> None:
    outcome = csctl("import", books, stdin='{"_id": "dune"}\n{"_id": "x"}\n[1]\n')
    assert outcome.code == 16
    assert [line.split()[:2] for line in outcome.lines[1:3]] == [["1", "document_exists"], ["3", "not_an_object"]]
    assert "2 of 3 lines were not imported" in outcome.err
    assert csctl("import", books, "--max-errors", "0", stdin="nonsense\n").code == 3


def test_dry_run_reads_and_sends_nothing(csctl: Csctl, books: str, tmp_path: Path) -> None:
    file = tmp_path / "in.ndjson"
    file.write_text('{"_id": "ok"}\n\n{"_trailer": {}}\n{"_x": 1}\nnonsense\n')
    outcome = csctl("import", books, str(file), "--dry-run")
    assert (outcome.code, "line 4: _x begins with an underscore" in outcome.err) == (16, True)
    assert len(csctl.documents(books)) == 3


class Cuts:
    """Cuts the answers of imports and exports: the first `count` of them, each behind `lines` lines."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *, count: int, lines: int) -> None:
        self.left = count
        self.made = 0
        real = LineFeed.next

        async def cut(feed: LineFeed) -> bytes | None:
            told: int = getattr(feed, "told", 0)
            feed.told = told + 1  # type: ignore[attr-defined]
            if self.left and told == lines:
                self.left -= 1
                self.made += 1
                raise ConnectionFailure("the answer was cut", retryable=True)
            return await real(feed)

        monkeypatch.setattr(LineFeed, "next", cut)
        monkeypatch.setattr(import_run, "PAUSE_S", 0.0)
        monkeypatch.setattr(exporting, "PAUSE_S", 0.0)


def test_an_import_that_is_cut_goes_on(csctl: Csctl, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    csctl.ok("collection", "create", "cut")
    file = tmp_path / "in.ndjson"
    file.write_text(lines(1_000))
    cuts = Cuts(monkeypatch, count=3, lines=0)
    done = csctl.ok("import", "cut", str(file), "-o", "json").json
    assert (cuts.made, done["lines"], done["failed"]) == (3, 1_000, 0)
    assert csctl.ok("count", "cut").out == "1000\n"


def test_an_import_that_was_interrupted_goes_on_under_its_key(
    csctl: Csctl, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    csctl.ok("collection", "create", "later")
    file = tmp_path / "in.ndjson"
    file.write_text(lines(500))
    monkeypatch.setattr(import_run, "TRIES_MAX", 0)
    cuts = Cuts(monkeypatch, count=1, lines=0)
    first = csctl("import", "later", str(file))
    assert (first.code, "The same command goes on there" in first.err) == (14, True)
    (state,) = states(csctl)
    assert state.stat().st_mode & 0o777 == 0o600
    key = msgspec.json.decode(state.read_bytes(), type=ImportState).key

    other = csctl("import", "later", str(file), "--mode", "upsert")
    assert (other.code, "--restart" in other.err) == (7, True)
    again = csctl.ok("import", "later", str(file), "-o", "json")
    assert "Going on with the import" in again.err
    # What the first one has applied is not applied again, and nothing fails for being there already.
    assert (again.json["lines"], again.json["failed"], cuts.made) == (500, 0, 1)
    assert key.startswith("csctl-import-")
    assert states(csctl) == []


def test_an_import_that_was_interrupted_behind_some_lines_skips_them(
    csctl: Csctl, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    csctl.ok("collection", "create", "behind")
    file = tmp_path / "in.ndjson"
    file.write_text(lines(500))
    monkeypatch.setattr(import_run, "TRIES_MAX", 0)
    Cuts(monkeypatch, count=1, lines=0)
    assert csctl("import", "behind", str(file)).code == 14
    (path,) = states(csctl)
    state = msgspec.json.decode(path.read_bytes(), type=ImportState)
    state.lines, state.inserted = 200, 200
    path.write_bytes(msgspec.json.encode(state))
    again = csctl.ok("import", "behind", str(file), "-o", "json")
    assert "at line 201" in again.err
    assert (again.json["lines"], again.json["inserted"], again.json["failed"]) == (500, 500, 0)


def test_an_import_of_a_file_that_was_changed_is_refused(
    csctl: Csctl, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    csctl.ok("collection", "create", "changed")
    file = tmp_path / "in.ndjson"
    file.write_text(lines(10))
    monkeypatch.setattr(import_run, "TRIES_MAX", 0)
    Cuts(monkeypatch, count=1, lines=0)
    assert csctl("import", "changed", str(file)).code == 14
    file.write_text(lines(11))
    refused = csctl("import", "changed", str(file))
    assert (refused.code, "another file" in refused.err) == (7, True)
    assert csctl.ok("import", "changed", str(file), "--restart", "--mode", "skip", "-o", "json").json["lines"] == 11


def test_an_export_that_is_cut_goes_on_in_the_same_state(
    csctl: Csctl, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    csctl.ok("collection", "create", "out")
    csctl.ok("import", "out", stdin=lines(700))
    whole = csctl.ok("export", "out").out
    cuts = Cuts(monkeypatch, count=4, lines=150)
    csctl.ok("export", "out", str(tmp_path / "out.ndjson"))
    assert cuts.made == 4
    assert (tmp_path / "out.ndjson").read_text() == whole


def test_an_export_that_was_interrupted_goes_on_with_its_part(
    csctl: Csctl, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    csctl.ok("collection", "create", "part")
    csctl.ok("import", "part", stdin=lines(400))
    whole, file = csctl.ok("export", "part").out, tmp_path / "out.ndjson"
    monkeypatch.setattr(exporting, "TRIES_MAX", 0)
    Cuts(monkeypatch, count=1, lines=123)
    first = csctl("export", "part", str(file))
    assert (first.code, "123 documents are in" in first.err) == (14, True)
    assert not file.exists()
    csctl.ok("update", "part", "d00200", "n=changed")
    state = tmp_path / "out.ndjson.part.json"
    assert msgspec.json.decode(state.read_bytes(), type=ExportState).count == 123

    other = csctl("export", "part", str(file), "-w", "n<5")
    assert (other.code, "another export" in other.err) == (7, True)
    csctl.ok("export", "part", str(file))
    assert file.read_text() == whole
    assert not state.exists()


def test_a_damaged_export_is_refused(csctl: Csctl, books: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = LineFeed.next

    async def damaged(feed: LineFeed) -> bytes | None:
        line = await real(feed)
        return line.replace(b"Dune", b"Dunk") if line else line

    monkeypatch.setattr(LineFeed, "next", damaged)
    outcome = csctl("export", books, str(tmp_path / "x.ndjson"))
    assert (outcome.code, "the export is damaged" in outcome.err) == (1, True)
    assert not (tmp_path / "x.ndjson").exists()


@pytest.mark.parametrize(
    "content",
    [b"nonsense", gzip.compress(b'{"_id":"z"}\n' * 5)[:-6], gzip.compress(b"x" * 10)[:12] + b"\xff" * 20],
    ids=["nonsense", "cut", "overwritten"],
)
def test_a_damaged_gzip_file_is_told(csctl: Csctl, books: str, tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "x.ndjson.gz"
    file.write_bytes(content)
    outcome = csctl("import", books, str(file))
    assert (outcome.code, "no complete gzip file" in outcome.err) == (2, True), outcome.err


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("export", "BOOKS", "x.csv"), 2),
        (("export", "BOOKS", "--format", "xml"), 2),
        (("export", "nope"), 5),
        (("export", "BOOKS", "/nowhere/at/all/x"), 1),
        (("import", "BOOKS", "/nowhere/at/all"), 1),
        (("import", "nope", "-"), 5),
        (("import", "BOOKS", "-", "--types", "a:string"), 2),
        (("import", "BOOKS", "-", "--format", "csv", "--types", "a:date"), 3),
    ],
)
def test_mistakes(csctl: Csctl, books: str, words: tuple[str, ...], code: int) -> None:
    outcome = csctl(*(one.replace("BOOKS", books) for one in words), stdin='{"_id":"q"}\n')
    assert (outcome.code, outcome.out) == (code, ""), outcome.err


def test_a_damaged_state_is_refused(csctl: Csctl, books: str, tmp_path: Path) -> None:
    file = tmp_path / "in.ndjson"
    file.write_text(lines(1))
    for wrong in (b"", b"{}", b"[" * 1000, b'{"key": 7}'):
        place = porting_state.import_path(str(file), csctl.url, books)
        written: Any = csctl.folder / "state" / place.relative_to(porting_state.state_home().parent)
        written.parent.mkdir(parents=True, exist_ok=True)
        written.write_bytes(wrong)
        refused = csctl("import", books, str(file))
        assert (refused.code, "--restart" in refused.err) == (7, True)
