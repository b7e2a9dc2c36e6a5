"""Documents as rows, and back: every value, by the rule of cells."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from collectionstore_node.documents.values import MISSING
from collectionstore_node.errors import InvalidPart, InvalidRequest
from collectionstore_node.porting.cells import CellType, cell_of, value_of
from collectionstore_node.porting.ndjson import Identified
from collectionstore_node.porting.records import Records
from collectionstore_node.porting.tables import TableWriter, document_of, parse_header, parse_record
from collectionstore_node.tests.documents.json_values import VALUES

TEXTS = st.one_of(
    st.text(),
    st.sampled_from(
        ["", "1", "01", "-", "1e5", "1e999", "true", "null", "[1]", "{", '"', '"a"', " 1", "NaN", "9" * 30]
    ),
    st.text(st.sampled_from('0123456789.-+eE"{}[],')),
)
FIELDS = st.sampled_from(["a", "b", "c d", "é", 'q"', "e,f"])
DOCUMENTS = st.dictionaries(FIELDS, st.one_of(VALUES, TEXTS), max_size=4)


@given(st.one_of(VALUES, TEXTS))
def test_a_cell_is_read_as_it_was_written(value: Any) -> None:
    text = value_of(cell_of(value), CellType.AUTO)

    assert text is not None
    assert repr(orjson.loads(text)) == repr(value)


@given(st.text(min_size=1))
def test_any_cell_is_a_value_that_is_written_alike(cell: str) -> None:
    text = value_of(cell, CellType.AUTO)
    assert text is not None
    value = orjson.loads(text)

    again = value_of(cell_of(value), CellType.AUTO)
    assert again is not None
    assert orjson.loads(again) == value


@given(st.lists(st.tuples(st.text(min_size=1).filter(str.isprintable), DOCUMENTS), max_size=4))
def test_a_table_is_read_as_it_was_written(documents: list[tuple[str, dict[str, Any]]]) -> None:
    names = sorted({name for _, document in documents for name in document})
    writer = TableWriter([(name,) for name in names])
    rows = [writer.row({"_id": key, "_revision": 1, **document}) for key, document in documents]
    records = Records(quotes=True, bytes_max=1 << 20)
    records.feed(writer.header() + b"".join(rows))
    records.end()
    header = parse_header(records.take() or b"", {})

    for key, document in documents:
        record = records.take()
        assert record is not None
        found = document_of(header, record)
        assert found is not None
        assert found.id == key
        assert orjson.loads(found.text) == document
    assert records.take() is None


def test_paths_lead_through_objects() -> None:
    writer = TableWriter([("home", "city"), ("home", "zip"), ("tags",), ("_revision",)])
    document = {"_id": "ada", "_revision": 7, "home": {"city": "London", "zip": "0012", "x": 1}, "tags": ["a", 1]}

    assert writer.header() == b"_id,home.city,home.zip,tags,_revision\r\n"
    assert writer.row(document) == b'ada,London,0012,"[""a"",1]",7\r\n'
    assert writer.row({"_id": "x", "_revision": 1, "home": [{"city": "y"}]}) == b"x,,,,1\r\n"

    header = parse_header(b"_id,home.city,home.zip,tags,_revision", {})
    found = document_of(header, b'ada,London,0012,"[""a"",1]",7')
    assert found == Identified("ada", b'{"home":{"city":"London","zip":"0012"},"tags":["a",1]}')
    assert document_of(header, b"x,,,,1") == Identified("x", b"{}")
    assert document_of(header, b",,,,") == Identified(None, b"{}")
    assert document_of(header, b"") is None


@pytest.mark.parametrize(
    ("cell", "kind", "expected"),
    [
        ("", CellType.AUTO, None),
        ("", CellType.STRING, None),
        ("12", CellType.AUTO, b"12"),
        ("1.50", CellType.AUTO, b"1.50"),
        ("012", CellType.AUTO, b'"012"'),
        ("18446744073709551615", CellType.AUTO, b"18446744073709551615"),
        ("18446744073709551616", CellType.AUTO, b'"18446744073709551616"'),
        ("1e999", CellType.AUTO, b'"1e999"'),
        ("true", CellType.AUTO, b"true"),
        ("True", CellType.AUTO, b'"True"'),
        ('"12"', CellType.AUTO, b'"12"'),
        ('""', CellType.AUTO, b'""'),
        ("{broken", CellType.AUTO, b'"{broken"'),
        ("12", CellType.STRING, b'"12"'),
        ("12", CellType.NUMBER, b"12"),
        ("true", CellType.BOOL, b"true"),
        ("[1, 2]", CellType.JSON, b"[1, 2]"),
        ("null", CellType.JSON, b"null"),
    ],
)
def test_types_of_cells(cell: str, kind: CellType, expected: bytes | None) -> None:
    assert value_of(cell, kind) == expected


@pytest.mark.parametrize(
    ("cell", "kind"),
    [
        ("x", CellType.NUMBER),
        ("true", CellType.NUMBER),
        ("1", CellType.BOOL),
        ("x", CellType.JSON),
        ('"1"', CellType.NUMBER),
    ],
)
def test_a_hint_is_kept(cell: str, kind: CellType) -> None:
    with pytest.raises(InvalidRequest) as refused:
        value_of(cell, kind)
    assert refused.value.code == "invalid_body"


def test_what_is_missing_is_an_empty_cell() -> None:
    assert cell_of(MISSING) == ""
    assert cell_of("") == '""'
    assert cell_of(None) == "null"


@pytest.mark.parametrize(
    ("record", "detail"),
    [
        (b'"a"b,c', "not a record of RFC 4180"),
        (b"a\xff", "not valid UTF-8"),
        (b"a\nb", "not a record of RFC 4180"),
    ],
)
def test_what_is_no_record_is_refused(record: bytes, detail: str) -> None:
    with pytest.raises(InvalidRequest, match=detail):
        parse_record(record)


@pytest.mark.parametrize(
    ("header", "types"),
    [
        (b"", {}),
        (b"a,a", {}),
        (b"a,a.b", {}),
        (b"a.b,a", {}),
        (b"_id,_id", {}),
        (b"a..b", {}),
        (b"a,", {}),
        (b"a", {"b": CellType.NUMBER}),
        (b",".join(b"c%d" % at for at in range(1_001)), {}),
    ],
)
def test_a_header_that_is_none_is_refused(header: bytes, types: dict[str, CellType]) -> None:
    with pytest.raises((InvalidRequest, InvalidPart)):
        parse_header(header, types)


def test_a_row_has_as_many_cells_as_the_header() -> None:
    header = parse_header(b"a,b", {})
    for record in (b"1", b"1,2,3"):
        with pytest.raises(InvalidRequest, match="the header 2 columns"):
            document_of(header, record)
    with pytest.raises(InvalidRequest, match="column 2: the cell is no number"):
        document_of(parse_header(b"a,b", {"b": CellType.NUMBER}), b"1,x")
