"""docs/reference/watch.md describes what the code does."""

from __future__ import annotations

import re
from pathlib import Path

from collectionstore_node.api.handlers.watch_answers import SLOW_S
from collectionstore_node.api.handlers.watches import WAIT_DEFAULT_S
from collectionstore_node.api.http.limits import HttpLimits
from collectionstore_node.api.http.options import WATCH
from collectionstore_node.api.stream import settings
from collectionstore_node.changes import ENDS, OPS
from collectionstore_node.changes.cursor import STEP_COMMANDS, STEP_EVENT_BYTES, STEP_READ_BYTES
from collectionstore_node.changes.tokens import TOKEN_CHARACTERS
from collectionstore_node.metrics.table.traffic import WATCH_ENDS
from collectionstore_node.service.watch_rounds import RECENT_BYTES_MAX
from collectionstore_node.service.watches import BEGINNING_MAX, HEARTBEAT_S, OWNER_WATCHES_MAX, WATCHES_MAX
from collectionstore_node.statemachine.consumers import CONSUMERS_MAX, REQUEST_BYTES_MAX
from collectionstore_node.statemachine.levels import CHANGES

PAGES = Path(__file__).parents[4] / "docs" / "reference"
PAGE = (PAGES / "watch.md").read_text()
STREAM = (PAGES / "stream.md").read_text()


def test_bounds_are_as_written() -> None:
    assert f"at most {WATCHES_MAX:,} watches, {OWNER_WATCHES_MAX:,} of them of one address" in PAGE
    assert f"and a stream {settings.STREAM_WATCHES_MAX}" in PAGE
    assert f"At most {BEGINNING_MAX} watches tell initial documents" in PAGE
    assert (
        f"steps of {STEP_EVENT_BYTES >> 10} KiB of events, {STEP_COMMANDS:,} commands or {STEP_READ_BYTES >> 20} MiB"
        in PAGE
    )
    assert f"up to {RECENT_BYTES_MAX >> 20} MiB, are decoded once" in PAGE
    assert f"within {SLOW_S:g} s is told `slow`" in PAGE
    assert f"nothing was told for {HEARTBEAT_S:g} s" in PAGE
    assert f"`wait=30s` (0s to {HttpLimits().timeout_max_s:g}s)" in PAGE
    assert f"alone ({WAIT_DEFAULT_S:g} s)" in PAGE
    assert f"opaque, {TOKEN_CHARACTERS} characters" in PAGE
    assert f"at most {CONSUMERS_MAX} consumers, with what they ask for of {REQUEST_BYTES_MAX >> 10} KiB" in PAGE
    assert f"feature level {CHANGES}" in PAGE
    assert f"of which there are at most {settings.STREAM_WATCHES_MAX}" in STREAM
    assert (
        f"{settings.WATCH_CREDIT_DEFAULT:,} unless `credit` says otherwise (1 to {settings.WATCH_CREDIT_MAX:,})"
        in STREAM
    )


def test_every_event_kind_and_parameter_is_described() -> None:
    events = PAGE.partition("## Events")[2].partition("### Filters")[0]
    rows = dict(re.findall(r"^\| `([a-z]+)` \| ([^|]*) \|", events, re.MULTILINE))

    rows.pop("event")  # the heading

    assert {kind for kind, what in rows.items() if what.startswith("the end")} == ENDS
    assert set(rows) == ENDS | {"change", "document", "ready", "progress"}
    assert set(WATCH_ENDS) >= ENDS
    kinds = re.search(r"\| `ops` \| [^:]*: (.*?);", PAGE)
    assert kinds is not None
    assert set(re.findall(r"`([a-z_]+)`", kinds[1])) == set(OPS.values())
    assert [name for name in sorted(WATCH) if f"`{name}" not in PAGE] == []
