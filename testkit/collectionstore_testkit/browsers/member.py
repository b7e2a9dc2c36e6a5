"""A member, asked by plain HTTP: what a person does in the console is compared with what is stored."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.error import HTTPError
from urllib.parse import quote

_TIMEOUT_S: Final = 20


@dataclass(frozen=True)
class Member:
    """One member."""

    url: str

    def send(self, method: str, path: str, body: object = None, headers: Mapping[str, str] | None = None) -> Any:
        """Send JSON, or bytes as they are, and return that of the answer. Raises AssertionError if it is refused."""
        data = None if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
        given = {"Content-Type": "application/json"} if data is not None else {}
        request = urllib.request.Request(
            f"{self.url}{path}", data=data, method=method, headers={**given, **(headers or {})}
        )
        try:
            with urllib.request.urlopen(request, timeout=_TIMEOUT_S) as answer:
                text = answer.read()
        except HTTPError as error:
            raise AssertionError(f"{method} {path}: {error.code} {error.read().decode()}") from None
        return json.loads(text) if text else None

    def text(self, path: str) -> str:
        """Return the body of an answer as it is sent."""
        with urllib.request.urlopen(f"{self.url}{path}", timeout=_TIMEOUT_S) as answer:
            return str(answer.read().decode())

    def fill(self, collection: str, documents: Mapping[str, Any]) -> None:
        """Make a collection that has these documents, by ID."""
        self.send("PUT", f"/api/v1/collections/{collection}")
        for document_id, document in documents.items():
            self.send("PUT", path_of(collection, document_id), document)

    def document(self, collection: str, document_id: str) -> Any:
        """Return a document."""
        return self.send("GET", path_of(collection, document_id))

    def leader(self) -> str:
        """Return the name of the leader."""
        return str(self.send("GET", "/api/v1/cluster")["leader"]["name"])


def path_of(collection: str, document_id: str) -> str:
    """Return the path of a document."""
    return f"/api/v1/collections/{collection}/documents/{quote(document_id, safe='')}"
