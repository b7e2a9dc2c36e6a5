"""The pages about the API itself: `/`, `/openapi.json`, and `/docs`, which shows that document."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from importlib.resources import files
from typing import Final

import orjson

from collectionstore_node import __version__
from collectionstore_node.api.http.answers import JSON, Answer, json_answer
from collectionstore_node.api.http.call import Call, Handler
from collectionstore_node.api.http.options import NONE
from collectionstore_node.api.http.router import Route
from collectionstore_node.api.openapi.document import describe

_KEPT: Final = b"Cache-Control: no-cache\r\nX-Content-Type-Options: nosniff\r\n"
_PAGE: Final = (
    b"Content-Security-Policy: default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    b"base-uri 'none'; form-action 'none'; frame-ancestors 'none'\r\n"
    b"Referrer-Policy: no-referrer\r\n"
)
"""Nothing from another host, and nothing written into the page itself."""

_LINKS: Final = {
    "documentation": "/docs",
    "openapi": "/openapi.json",
    "collections": "/api/v1/collections",
    "cluster": "/api/v1/cluster",
    "status": "/status",
}


def described(routes: Iterable[Route]) -> tuple[Route, ...]:
    """Return `routes` and those of the pages about them."""
    given = tuple(routes)
    pages = (
        Route("GET", "/", _index, NONE),
        Route("GET", "/openapi.json", _openapi_of(given), NONE),
        Route("GET", "/docs", _file("page.html", b"text/html; charset=utf-8"), NONE),
        Route("GET", "/docs/page.css", _file("page.css", b"text/css; charset=utf-8"), NONE),
        Route("GET", "/docs/page.js", _file("page.js", b"text/javascript; charset=utf-8"), NONE),
    )
    return (*given, *pages)


async def _index(call: Call) -> Answer:
    """Return the name and version of what answers here, and where its pages are."""
    return json_answer(
        {"name": "Collection Store", "version": __version__, "member": call.api.store.name, "links": _LINKS},
        headers=_KEPT,
    )


def _openapi_of(routes: tuple[Route, ...]) -> Handler:
    made: list[bytes] = []

    def make() -> bytes:
        return orjson.dumps(describe(described(routes)))

    async def openapi(call: Call) -> Answer:
        """Return this description of the API."""
        if not made:
            # Once, and in a thread: it takes tens of milliseconds.
            made.append(await call.api.store.queries.checked(make, timeout_s=call.timeout_s))
        return Answer(200, JSON + _KEPT, made[0])

    return openapi


def _file(name: str, content_type: bytes) -> Handler:
    async def page(call: Call) -> Answer:
        """Return a part of the page that shows the description of the API."""
        return Answer(200, b"Content-Type: %s\r\n%s%s" % (content_type, _KEPT, _PAGE), _content(name))

    return page


@lru_cache
def _content(name: str) -> bytes:
    return (files("collectionstore_node.api.openapi") / "page" / name).read_bytes()
