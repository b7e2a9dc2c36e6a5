"""Bytes cut into lines and CSV records, however they arrive."""

from __future__ import annotations

import csv
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collectionstore_node.errors import InvalidRequest, TooLarge
from collectionstore_node.porting.records import BYTE_ORDER_MARK, Records


def cut(data: bytes, sizes: list[int], *, quotes: bool, bytes_max: int = 1_000) -> list[bytes]:
    """Return the records of `data`, which arrives in pieces of these sizes, the last one repeated."""
    records = Records(quotes=quotes, bytes_max=bytes_max)
    found: list[bytes] = []
    at = 0
    for size in [*sizes, len(data)]:
        records.feed(data[at : at + size])
        at += size
        while (record := records.take()) is not None:
            found.append(record)
    records.end()
    while (record := records.take()) is not None:
        found.append(record)
    assert records.number == len(found)
    return found


@given(st.lists(st.binary(max_size=8).filter(lambda one: b"\n" not in one), max_size=6), st.lists(st.integers(1, 5)))
def test_lines_are_cut_alike_however_they_arrive(lines: list[bytes], sizes: list[int]) -> None:
    data = b"".join(line + b"\n" for line in lines)
    if data.startswith(BYTE_ORDER_MARK):
        data = b"x" + data
    assert cut(data, sizes, quotes=False) == cut(data, [], quotes=False)
    assert cut(data, [], quotes=False) == [line.removesuffix(b"\r") for line in data.split(b"\n")[:-1]]


CELLS = st.lists(st.text(st.sampled_from('a,"\n\r é'), max_size=4), min_size=1, max_size=3)


@given(st.lists(CELLS, max_size=5), st.lists(st.integers(1, 5)), st.sampled_from(["\r\n", "\n"]))
def test_records_of_csv_are_those_that_the_library_writes(rows: list[list[str]], sizes: list[int], end: str) -> None:
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator=end, quoting=csv.QUOTE_ALL).writerows(rows)

    found = cut(text.getvalue().encode(), sizes, quotes=True)

    assert [next(csv.reader((one.decode(),))) for one in found] == rows


@pytest.mark.parametrize("quotes", [True, False])
def test_a_mark_of_byte_order_and_a_missing_last_line_end(*, quotes: bool) -> None:
    for sizes in ([], [1, 1, 1]):
        assert cut(BYTE_ORDER_MARK + b"a\r\n\r\nb", sizes, quotes=quotes) == [b"a", b"", b"b"]
    assert cut(b"", [], quotes=quotes) == []
    assert cut(BYTE_ORDER_MARK, [1], quotes=quotes) == []


def test_a_record_that_is_too_long_is_refused_before_its_end() -> None:
    records = Records(quotes=False, bytes_max=4)
    records.feed(b"1234\n12345")
    assert records.take() == b"1234"
    with pytest.raises(TooLarge, match="record 2 has more than 4 bytes"):
        records.take()


def test_a_quote_that_is_not_closed_is_refused() -> None:
    with pytest.raises(InvalidRequest, match="record 2 has a quoted cell that is not closed"):
        cut(b'a\n"b\nc', [], quotes=True)
