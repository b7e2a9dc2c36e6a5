"""docs/reference/stream.md describes what the code does."""

from __future__ import annotations

import re
from pathlib import Path
from typing import get_args

import orjson

from collectionstore_node.api.stream import settings
from collectionstore_node.api.stream.operations import JsonOperation, Operation
from collectionstore_node.api.stream.websocket import Close
from collectionstore_node.tests.api.stream.stream_clients import StreamClient

REFERENCE = (Path(__file__).parents[5] / "docs" / "reference" / "stream.md").read_text()
COMMON = {
    "tag",
    "timeout_ms",
    "traceparent",
    "request_id",
    "idempotency_key",
    "consistency",
    "max_staleness_ms",
    "min_revision",
}


def test_every_operation_is_in_the_table_with_its_fields() -> None:
    documented = {}
    for line in REFERENCE.partition("## Operations")[2].partition("## Answers")[0].splitlines():
        if re.match(r"\| `[a-z_]+` \|", line):
            name, fields = line.split("|")[1:3]
            documented[name.strip(" `")] = set(re.findall(r"`([a-z_]+)`", fields))

    documented.pop("op")  # the heading

    assert documented == {
        str(kind.__struct_config__.tag): set(kind.__struct_fields__) - COMMON for kind in get_args(JsonOperation)
    }
    assert set(Operation.__struct_fields__) <= COMMON


def test_every_close_code_is_in_the_table() -> None:
    rows = re.findall(r"\| ([0-9]{4}) `([a-z_]+)` \|", REFERENCE)

    assert {(int(code), name) for code, name in rows} == {(code.value, code.name.lower()) for code in Close}


def test_bounds_are_as_written() -> None:
    assert f"at most {settings.STREAMS_MAX:,} streams, {settings.ADDRESS_STREAMS_MAX} of them" in REFERENCE
    assert f"of at most {settings.LABEL_MAX:,} characters each" in REFERENCE
    assert f"one credit of {settings.OPERATIONS_MAX:,}" in REFERENCE
    assert f"of {settings.OPERATION_BYTES_MAX >> 20} MiB; its" in REFERENCE
    assert f"when {settings.AHEAD_BYTES_MAX >> 10} KiB of answers wait" in REFERENCE
    assert f"A message has at most {settings.MESSAGE_BYTES_MAX / (1 << 20):g} MiB" in REFERENCE
    assert f"above {settings.LENIENT_BYTES_MAX >> 10} KiB ends the stream" in REFERENCE
    assert f"at most {settings.ALL_OPERATIONS_MAX:,} operations of all streams" in REFERENCE
    assert f"{settings.ADDRESS_OPERATIONS_MAX:,} of them from one address" in REFERENCE
    assert (
        f"nothing for {settings.PING_S:g} s is pinged, and closed with 1008 after {settings.SILENCE_S:g} s" in REFERENCE
    )


async def test_the_hello_is_as_shown(stream: StreamClient) -> None:
    shown = orjson.loads(re.findall(r"```json\n(.*?)```", REFERENCE, re.DOTALL)[0])

    assert list(shown) == list(stream.hello)
    assert list(shown["limits"]) == list(stream.hello["limits"])
    assert shown["limits"]["message_bytes"] == settings.MESSAGE_BYTES_MAX
