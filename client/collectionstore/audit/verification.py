"""Checks the chain of an audit log: one file, or all rotated files of a member. Pure, but for reading what it is given.

A line is a JSON object whose last member is `hash`, the SHA-256 of the line without it; `prev` is the hash of the line
before, `sequence` the number of the record. The first line of a file is a header, with the chain's ID, the number of
the file and the sequence of its first record. What is found: lines that were changed, left out, added or put elsewhere,
files that are missing between others, and an end that was cut off where a next file or an anchor shows it. An anchor is
the sequence and hash of a record, as a member logs it, and shows it in its status. Not found: a whole log that was made
anew by another one who knows the format, unless an anchor is given; nor its end, if nothing else tells of it.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import IO, Any, Final, NamedTuple

FORMAT: Final = 1
LINE_BYTES_MAX: Final = 1 << 20
"""No record is longer."""
PROBLEMS_MAX: Final = 1_000
"""More are counted, and not kept."""
_SEAL: Final = re.compile(rb',"hash":"([0-9a-f]{64})"}\n\Z')
_HASH: Final = re.compile(r"[0-9a-f]{64}")
_FIRST: Final = "0" * 64


class Problem(NamedTuple):
    """Something that is not as its member has written it."""

    file: str
    line: int
    """From 1; 0 for the file as a whole."""
    kind: str
    """edited, missing, reordered, unchained, torn, headless, unknown, or anchor."""
    detail: str


class Anchor(NamedTuple):
    """A record that is known from elsewhere."""

    sequence: int
    hash: str


@dataclass
class Report:
    """What was checked, and found."""

    files: int = 0
    records: int = 0
    first: int = 0
    """Sequence of the first record; above 1, earlier files were not given, or were removed by the member in time."""
    last: int = 0
    hash: str = ""
    """Of the last line: with `last`, an anchor for what comes."""
    dropped: int = 0
    """Records that the member says it has lost: its sink could not take them."""
    problems: list[Problem] = field(default_factory=list)
    more: int = 0
    """Problems beyond those that are kept."""

    @property
    def sound(self) -> bool:
        """Whether nothing was found."""
        return not self.problems

    def add(self, file: str, line: int, kind: str, detail: str) -> None:
        """Note a problem."""
        if len(self.problems) < PROBLEMS_MAX:
            self.problems.append(Problem(file, line, kind, detail))
        else:
            self.more += 1


class _Header(NamedTuple):
    chain: str
    file: int
    sequence: int
    cluster: str
    member: str
    torn: bool


@dataclass
class _File:
    """A file, of which the first line was read."""

    name: str
    opened: IO[bytes]
    header: _Header | None
    first_line: bytes


@dataclass
class _Link:
    """Where the chain stands."""

    hash: str | None = None
    """None where nothing can be said of the line before."""
    sequence: int = 0
    file: int = 0


def parse_anchor(text: str) -> Anchor:
    """Return the anchor in `SEQUENCE:HASH`. Raises `ValueError`."""
    number, _, digest = text.partition(":")
    if not (number.isascii() and number.isdecimal() and len(number) <= 18 and _HASH.fullmatch(digest)):
        raise ValueError("an anchor is SEQUENCE:HASH, such as 17:" + "0f" * 32)
    return Anchor(int(number), digest)


def verify(files: Sequence[tuple[str, IO[bytes]]], anchors: Iterable[Anchor] = ()) -> Report:
    """Check the files of one log, each with its name, in any order. Raises `OSError` of reading them."""
    report = Report(files=len(files))
    opened = [_open(name, file) for name, file in files]
    left = {anchor.sequence: anchor for anchor in anchors}
    link = _Link()
    before: _Header | None = None
    for file in _ordered(opened):
        _begin(report, file, before, link)
        torn = _check_lines(report, file, link, left)
        following = _following(file, opened)
        if torn and not (following is not None and following.torn):
            report.add(file.name, torn, "torn", "its last line is not complete: a crash, or its end is cut off")
        before = file.header or before
    report.hash = link.hash or ""
    for anchor in left.values():
        if anchor.sequence > report.last:
            detail = (
                f"the log ends at record {report.last}, and record {anchor.sequence} was written: its end is cut off"
            )
        elif anchor.sequence < report.first:
            detail = f"record {anchor.sequence} is before the first one that was given, {report.first}"
        else:
            detail = f"record {anchor.sequence} is missing"
        report.add("", 0, "anchor", detail)
    return report


def _open(name: str, file: IO[bytes]) -> _File:
    line = file.readline(LINE_BYTES_MAX + 1)
    return _File(name, file, _header(line), line)


def _header(line: bytes) -> _Header | None:
    fields = _fields(line)
    if fields is None or fields.get("type") != "header" or fields.get("format") != FORMAT:
        return None
    file, sequence = fields.get("file"), fields.get("sequence")
    texts = [fields.get(name) for name in ("chain", "cluster", "member")]
    if type(file) is not int or type(sequence) is not int or file < 1 or sequence < 1:
        return None
    if not all(type(one) is str for one in texts):
        return None
    chain, cluster, member = map(str, texts)
    return _Header(chain, file, sequence, cluster, member, fields.get("torn") is True)


def _fields(line: bytes) -> dict[str, Any] | None:
    """Return the fields of a line, None if it is no JSON object."""
    try:
        fields = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return fields if type(fields) is dict else None


def _ordered(files: Sequence[_File]) -> Iterator[_File]:
    """Yield files in the order in which they were written; those without a header where they were given."""
    numbered = [one for one in files if one.header is not None]
    # Chains in the order of their first file: a second chain begins only where nothing could be chained to the first.
    begins: dict[str, int] = {}
    for one in numbered:
        if one.header is not None:
            begins[one.header.chain] = min(one.header.file, begins.get(one.header.chain, one.header.file))
    ordered = iter(
        sorted(
            numbered,
            key=lambda one: (begins[one.header.chain], one.header.chain, one.header.file) if one.header else (0, "", 0),
        )
    )
    for one in files:
        yield one if one.header is None else next(ordered)


def _following(file: _File, files: Sequence[_File]) -> _Header | None:
    here = file.header
    if here is None:
        return None
    headers = (one.header for one in files if one.header is not None)
    return next((one for one in headers if one.chain == here.chain and one.file == here.file + 1), None)


def _begin(report: Report, file: _File, before: _Header | None, link: _Link) -> None:
    """Check how a file goes on behind the one before it."""
    here = file.header
    if here is None:
        report.add(file.name, 1, "headless", "its first line is no header: that was cut off, or this is no audit log")
        fields = _fields(file.first_line)
        sequence = None if fields is None else fields.get("sequence")
        link.hash, link.sequence = None, sequence - 1 if type(sequence) is int else link.sequence
        return
    if before is None:
        # Of the first one nothing is known; one that is the very first has nothing before it.
        link.hash, link.sequence, link.file = (_FIRST if here.file == 1 else None), here.sequence - 1, here.file
        return
    if (here.cluster, here.member) != (before.cluster, before.member):
        report.add(file.name, 1, "unknown", f"it is of {here.member} of {here.cluster}, not of {before.member}")
        link.hash, link.sequence = None, here.sequence - 1
    elif here.chain != before.chain:
        report.add(file.name, 1, "unchained", "it begins another chain: its member could not go on behind this one")
        link.hash, link.sequence = _FIRST, here.sequence - 1
    elif here.file == before.file:
        report.add(file.name, 1, "reordered", f"file {here.file} of the chain was given twice")
        link.hash, link.sequence = None, here.sequence - 1
    elif here.file != before.file + 1:
        report.add(file.name, 1, "missing", f"the files {before.file + 1} to {here.file - 1} of the chain are missing")
        link.hash, link.sequence = None, here.sequence - 1
    elif here.sequence != link.sequence + 1:
        missing = f"the records {link.sequence + 1} to {here.sequence - 1}"
        report.add(file.name, 1, "missing", f"{missing} are missing: the end of file {before.file} is cut off")
        link.hash, link.sequence = None, here.sequence - 1
    link.file = here.file


def _check_lines(report: Report, file: _File, link: _Link, anchors: dict[int, Anchor]) -> int:
    """Check the lines of a file; return the number of its last line if that is not complete, else 0."""
    line, number = file.first_line, 1
    while line:
        if not line.endswith(b"\n"):
            if len(line) <= LINE_BYTES_MAX:
                return number
            report.add(file.name, number, "unknown", f"a line has more than {LINE_BYTES_MAX} bytes")
            link.hash = None
            while line and not line.endswith(b"\n"):
                line = file.opened.readline(LINE_BYTES_MAX + 1)
        else:
            _check_line(report, file, number, line, link, anchors)
        line = file.opened.readline(LINE_BYTES_MAX + 1)
        number += 1
    return 0


def _check_line(report: Report, file: _File, number: int, line: bytes, link: _Link, anchors: dict[int, Anchor]) -> None:
    seal, fields = _SEAL.search(line), _fields(line)
    if seal is None or fields is None or type(fields.get("sequence")) is not int:
        report.add(file.name, number, "unknown", "this is no record")
        link.hash = None
        return
    text, digest = line[: seal.start()] + b"}", seal[1].decode()
    if hashlib.sha256(text).hexdigest() != digest or not _canonical(text):
        report.add(file.name, number, "edited", f"record {fields['sequence']} does not have its hash: it was changed")
        _stand(link, fields, None)
        _count(report, fields, None, anchors)
        return
    is_header, sequence = fields.get("type") == "header", fields["sequence"]
    if is_header and number > 1:
        report.add(file.name, number, "reordered", "a header within a file")
    expected = link.sequence + 1
    if sequence > expected:
        gap = f"{expected}" if sequence == expected + 1 else f"{expected} to {sequence - 1}"
        report.add(file.name, number, "missing", f"records are missing before this one: {gap}")
    elif sequence < expected:
        report.add(file.name, number, "reordered", f"record {sequence} comes behind record {link.sequence}")
    elif link.hash is not None and fields.get("prev") != link.hash:
        report.add(file.name, number, "unchained", f"record {sequence} was not written behind the line before it")
    _stand(link, fields, digest)
    _count(report, fields, digest, anchors)


def _stand(link: _Link, fields: dict[str, Any], digest: str | None) -> None:
    sequence = fields["sequence"] - (fields.get("type") == "header")
    # The lines behind one that was put elsewhere are judged by those around it.
    if sequence >= link.sequence:
        link.sequence = sequence
    link.hash = digest


def _count(report: Report, fields: dict[str, Any], digest: str | None, anchors: dict[int, Anchor]) -> None:
    if fields.get("type") == "header":
        return
    sequence = fields["sequence"]
    report.records += 1
    report.first = report.first or sequence
    report.last = max(report.last, sequence)
    if fields.get("type") == "dropped" and type(fields.get("count")) is int:
        report.dropped += fields["count"]
    anchor = anchors.get(sequence)
    if anchor is not None:
        del anchors[sequence]
        if digest != anchor.hash:
            report.add("", 0, "anchor", f"record {sequence} is another one than the anchor says: the log was made anew")


def _canonical(text: bytes) -> bool:
    """Whether JSON is in canonical form, so that a reader of it and the hash see the same."""
    fields = _fields(text)
    if fields is None:
        return False
    shown = json.dumps(fields, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return shown.encode(errors="surrogatepass") == text
