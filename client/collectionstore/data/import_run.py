"""The run of an import: one request with a body that is read while it is sent, begun again where it was cut."""

from __future__ import annotations

import asyncio
import gzip
import zlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import IO, Any, Final, cast

import msgspec

from collectionstore.data import porting_state
from collectionstore.data.arguments import ArgumentInvalid
from collectionstore.data.porting_state import ImportState
from collectionstore.data.progress import Bar
from collectionstore.data.requests import segment
from collectionstore.data.stdin import open_stdin
from collectionstore.data.store import Store
from collectionstore.errors import CollectionStoreError, problem_error
from collectionstore.render.json_text import printable
from collectionstore.wire.requests import Request

CHUNK_BYTES: Final = 1 << 16
FIRST_TRIES_MAX: Final = 5
"""How often it is begun before a line is applied at all: a cluster that is not there is told soon."""
TRIES_MAX: Final = 20
"""How often in a row an import is begun again without a line applied in between."""
PAUSE_S: Final = 0.5
PAUSE_MAX_S: Final = 10.0
TYPES: Final = {"ndjson": "application/x-ndjson", "csv": "text/csv"}
COUNTS: Final = ("lines", "inserted", "replaced", "skipped", "failed")
BATCH_TIMEOUT: Final = "30s"


class Import:
    """One import, over as many requests as it takes."""

    def __init__(
        self, collection: str, file: Path, state: ImportState, state_file: Path | None, max_errors: int
    ) -> None:
        self._collection = collection
        self._file = file
        self._state = state
        self._state_file = state_file
        self._max_errors = max_errors
        self._before = {name: int(getattr(state, name)) for name in COUNTS}
        self._sent = 0
        self._unreadable: Exception | None = None
        """Why the input cannot be read: what sends it turns that into a lost connection."""

    async def run(self, store: Store) -> dict[str, Any]:
        """Return the result with the counts of all requests. Raises CollectionStoreError."""
        failures = 0
        total = None if self._state_file is None else self._state.source.size
        with Bar(f"importing into {self._collection}", total=total, unit="bytes") as bar:
            while True:
                reached = self._state.lines
                try:
                    return await self._once(store, bar)
                except CollectionStoreError as error:
                    if self._unreadable is not None:
                        raise self._unreadable from error
                    failures = 1 if self._state.lines > reached else failures + 1
                    most = TRIES_MAX if self._state.lines else min(FIRST_TRIES_MAX, TRIES_MAX)
                    if self._state_file is None or not error.retryable or failures > most:
                        raise
                    bar.say(f"{printable(str(error))[:200]}; going on at line {self._state.lines + 1}")
                self._before = {name: int(getattr(self._state, name)) for name in COUNTS}
                await asyncio.sleep(min(PAUSE_MAX_S, PAUSE_S * failures))

    async def _once(self, store: Store, bar: Bar) -> dict[str, Any]:
        state = self._state
        request = Request("POST", f"/collections/{segment(self._collection)}:import", timed=False)
        request.headers = {"Content-Type": TYPES[state.options["format"]], "Idempotency-Key": state.key}
        request.parameters = {
            "mode": state.options["mode"],
            "progress": "true",
            "max_errors": str(self._max_errors),
            "timeout": BATCH_TIMEOUT,
        }
        if state.options["types"]:
            request.parameters["types"] = state.options["types"]
        if state.options["trailer"] == "True":
            request.parameters["trailer"] = "required"
        if state.lines:
            request.parameters["skip"] = str(state.lines)
        self._sent = 0
        feed = await store.lines(request, self._chunks())
        try:
            while (line := await feed.next()) is not None:
                if not line.strip():
                    continue
                event = msgspec.json.decode(line)
                if "progress" in event:
                    self._reached(event["progress"], bar)
                elif "result" in event:
                    return self._summed(event["result"])
                elif "problem" in event:
                    raise problem_error(event["problem"])
        finally:
            await feed.close()
        raise AnswerCut()

    def _reached(self, counts: dict[str, Any], bar: Bar) -> None:
        # Counts of a request include the lines that it skipped: those an earlier one has applied.
        self._state.lines = int(counts["lines"])
        for name in COUNTS[1:]:
            setattr(self._state, name, self._before[name] + int(counts.get(name, 0)))
        if self._state_file is not None:
            porting_state.write(self._state_file, self._state)
        bar.at(self._sent, note=f"{self._state.lines:,} lines")

    def _summed(self, result: dict[str, Any]) -> dict[str, Any]:
        summed = dict(result)
        for name in COUNTS[1:]:
            summed[name] = self._before[name] + int(result.get(name, 0))
        return summed

    async def _chunks(self) -> AsyncIterator[bytes]:
        """Yield the input. Reading is done in a thread: a pipe may have nothing for a long time."""
        try:
            source = open_input(self._file)
        except (OSError, ArgumentInvalid) as error:
            self._unreadable = error
            raise
        raw = getattr(source, "fileobj", None) or source
        try:
            while True:
                try:
                    chunk = await asyncio.to_thread(source.read, CHUNK_BYTES)
                except (gzip.BadGzipFile, EOFError, zlib.error) as error:
                    self._unreadable = ArgumentInvalid(f"{self._file} is no complete gzip file: {error}")
                    raise self._unreadable from error
                except OSError as error:
                    self._unreadable = error
                    raise
                if not chunk:
                    return
                self._sent = raw.tell() if self._state_file is not None else self._sent + len(chunk)
                yield chunk
        finally:
            source.close()


class AnswerCut(CollectionStoreError):
    """The answer ended without a result: the member has gone."""

    def __init__(self) -> None:
        super().__init__("the answer ended before the import did", retryable=True)


def open_input(file: Path) -> IO[bytes]:
    """Return a file, unpacked, or stdin for `-`. Raises OSError, ArgumentInvalid."""
    if str(file) == "-":
        return open_stdin()
    # A gzip file that is given its name closes what it opens.
    return cast(IO[bytes], gzip.GzipFile(file, "rb")) if file.suffix == ".gz" else file.open("rb")
