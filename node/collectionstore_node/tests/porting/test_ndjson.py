"""A document as a line, and back: with its text as it was."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from collectionstore_node.errors import InvalidRequest
from collectionstore_node.porting.ndjson import Identified, identified, line_of
from collectionstore_node.porting.tally import Tally, Trailer, parse_trailer
from collectionstore_node.tests.documents.json_values import VALUES

IDS = st.text(min_size=1).filter(lambda text: text.isprintable())
DOCUMENTS = st.dictionaries(st.text().filter(lambda name: name[:1] != "_"), VALUES, max_size=4)


@given(IDS, st.integers(1, 1 << 62), DOCUMENTS)
def test_a_line_is_read_as_it_was_written(name: str, revision: int, document: dict[str, Any]) -> None:
    text = orjson.dumps(document)
    line = line_of(name, revision, text)

    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1
    assert orjson.loads(line) == {"_id": name, "_revision": revision, **document}
    assert identified(line[:-1]) == Identified(name, text)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (b"{}", (None, b"{}")),
        (b'{"a":1.00}', (None, b'{"a":1.00}')),
        (b'{"_id":"x"}', ("x", b"{}")),
        (b'{"_id":"x","_revision":7}', ("x", b"{}")),
        (b'{"_id":"x","a":1.00}', ("x", b'{"a":1.00}')),
        (b'{"_id":"x","_revision":7,"a":{"_id":1}}', ("x", b'{"a":{"_id":1}}')),
        (b'{"a":1.00,"_id":"x"}', ("x", b'{"a":1.00}')),
        (b'{"_revision":"odd","_id":"x","a":1}', ("x", b'{"a":1}')),
        (b'{"_revision":7,"a":1}', (None, b'{"a":1}')),
        (b'{"_id":"a\\"b\\\\","c":1}', ('a"b\\', b'{"c":1}')),
        (b'{"\\u005fid":"x","a":1}', ("x", b'{"a":1}')),
    ],
)
def test_ids_are_found_wherever_they_are(line: bytes, expected: tuple[str | None, bytes]) -> None:
    assert tuple(identified(line)) == expected


@pytest.mark.parametrize(
    ("line", "code"),
    [
        (b'{"_id":1}', "invalid_body"),
        (b'{"_id":null}', "invalid_body"),
        (b'{"_id":{"$oid":"x"}}', "invalid_body"),
        (b'{"_id":"x","_other":1}', "reserved_field"),
        (b'{"_trailer":1}', "reserved_field"),
    ],
)
def test_other_names_of_the_store_are_refused(line: bytes, code: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        identified(line)

    assert refused.value.code == code


def test_a_trailer_is_that_of_the_lines_before_it() -> None:
    tally = Tally()
    for line in (b'{"_id":"a"}\n', b'{"_id":"b"}\n'):
        tally.add(line)
    trailer = parse_trailer(tally.trailer(7)[:-1])

    assert trailer == Trailer(2, tally.sha256, 7)
    assert trailer is not None
    tally.check(trailer)
    for other in (Trailer(1, tally.sha256), Trailer(2, "0" * 64)):
        with pytest.raises(InvalidRequest) as refused:
            tally.check(other)
        assert refused.value.code == "trailer_mismatch"
    assert parse_trailer(b'{"_id":"a"}') is None
    with pytest.raises(InvalidRequest):
        parse_trailer(b'{"_trailer":{"count":"1"}}')
