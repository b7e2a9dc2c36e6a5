"""The same documents in SQLite, and a scan of them by its JSON functions."""

from __future__ import annotations

import json
import sqlite3
import time
from pathlib import Path

from collectionstore_bench.queries.corpus import SCANNED_SQL, document_id, documents


class SqliteStore:
    """A database with one table: an ID and the text of a document in each row."""

    def __init__(self, folder: Path, count: int) -> None:
        """Fill a new database in `folder`."""
        self._connection = sqlite3.connect(folder / "documents.sqlite")
        self._connection.execute("CREATE TABLE documents (id TEXT PRIMARY KEY, document TEXT) WITHOUT ROWID")
        rows = (
            (document_id(number), json.dumps(one, separators=(",", ":"))) for number, one in enumerate(documents(count))
        )
        with self._connection:
            self._connection.executemany("INSERT INTO documents VALUES (?, ?)", rows)

    def scan(self) -> tuple[int, float]:
        """Count the documents that the scan is asked for; return the count and the seconds that it took."""
        started = time.perf_counter()
        (found,) = self._connection.execute(f"SELECT count(*) FROM documents WHERE {SCANNED_SQL}").fetchone()
        return int(found), time.perf_counter() - started

    def close(self) -> None:
        """Close the database."""
        self._connection.close()


def version() -> str:
    """Return the version of SQLite."""
    return sqlite3.sqlite_version
