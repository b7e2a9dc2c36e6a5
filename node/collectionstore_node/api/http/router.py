"""How a path finds its route.

A pattern's segment is literal text, `{name}` for one segment that is not empty, or `{name...}` for all that is left;
the last segment may end in a verb, as in `{name}:find`. Paths are matched as sent, before percent-decoding, so
that `%2F` is not a separator (RFC 3986 2.2: reserved characters and their escapes are not equivalent). aiohttp's router
is not used: one match, with what it sets up around it, costs more than reading a document (measured: 30 us).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, Literal, NamedTuple, TypeAlias

from collectionstore_node.api.http.call import Handler
from collectionstore_node.api.http.direct import DirectHandler
from collectionstore_node.api.http.instruments import HttpMetrics, RouteMetrics
from collectionstore_node.api.http.problems import Problem

KNOWN_MAX: Final = 256
KNOWN_BYTES_MAX: Final = 128
"""Where paths lead up to their last part is remembered, for so many of them, of up to this length."""


Access: TypeAlias = Literal["caller", "monitor", "open"]
"""Whom a route serves where access control is on: callers, those who may monitor the cluster, or everybody."""

_OPEN: Final = ("/docs", "/console")
"""Pages without data: who looks at them has no credential yet. `/` and `/openapi.json` are two more."""
_OPEN_EXACTLY: Final = ("/", "/openapi.json")
_ABOUT_ACCESS: Final = tuple(f"/api/v1/{name}" for name in ("access", "logout", "roles", "tokens", "users", "whoami"))
"""What asks who its caller is although access control is off, as far as that can be said."""


class Route(NamedTuple):
    """One line of the URL table."""

    method: str
    pattern: str
    handler: Handler
    parameters: frozenset[str]
    """The query parameters it takes."""
    probe: bool = False
    """Whether it is served whatever the load, and not traced."""
    leader_only: bool = False
    """Whether every other member redirects to the leader, which must see the caller's credentials itself."""
    direct: DirectHandler | None = None
    """Serves the requests that it can in halves."""
    read: bool = False
    """Whether it changes nothing although it is a POST: its body says what is read."""
    management: bool = False
    """Whether it is for the operator: it is served although it waited, as a cluster is mended under load, too."""
    lasting: bool = False
    """Whether it lasts for as long as its client sends: then it is not slow."""
    access: Access = "caller"


class Entry(NamedTuple):
    """A route under one method, with its counters."""

    pattern: str
    handler: Handler
    parameters: frozenset[str]
    metrics: RouteMetrics
    probe: bool
    leader_only: bool
    write: bool
    """Whether it proposes a command of a client."""
    safe: bool
    """Whether repeating it cannot do anything twice (RFC 9110 9.2.1)."""
    direct: DirectHandler | None
    patient: bool
    """Whether it is served however long it has waited."""
    lasting: bool
    """Whether it lasts for as long as its client sends."""
    access: Access
    about_access: bool
    """Whether its caller is told to it also where access control is off."""


class _Node:
    """A segment of the tree that patterns are compiled to."""

    __slots__ = ("children", "methods", "parameter", "rest", "verbs")

    def __init__(self) -> None:
        self.children: dict[str, _Node] = {}
        self.parameter: _Node | None = None
        self.rest: _Node | None = None
        self.verbs: dict[str, _Node] = {}
        """Those that the last segment may end in, with their colons."""
        self.methods: dict[str, Entry] = {}


class Router:
    """Finds the entry of a request. HEAD is served wherever GET is."""

    def __init__(self, routes: Iterable[Route], metrics: HttpMetrics) -> None:
        self._root = _Node()
        self._known: dict[str, tuple[_Node, tuple[str, ...]]] = {}
        for route in routes:
            node = self._place(route.pattern)
            for method in (route.method, "HEAD") if route.method == "GET" else (route.method,):
                counters = metrics.route(route.pattern, method)
                node.methods[method] = Entry(
                    route.pattern,
                    route.handler,
                    route.parameters,
                    counters,
                    route.probe,
                    route.leader_only,
                    write=not (route.probe or route.management or route.read) and method not in ("GET", "HEAD"),
                    safe=route.read or method in ("GET", "HEAD"),
                    direct=route.direct,
                    patient=route.probe or route.management,
                    lasting=route.lasting,
                    access="open"
                    if route.pattern in _OPEN_EXACTLY or route.pattern.startswith(_OPEN)
                    else route.access,
                    about_access=route.pattern.startswith(_ABOUT_ACCESS),
                )

    def find(self, method: str, path: str) -> tuple[Entry, list[str]]:
        """Return the entry and the path's arguments, as they were sent. Raises `Problem` 404 or 405."""
        before, _, last = path.rpartition("/")
        # Most paths differ in their last part only: the id of a document, or a key.
        known = self._known.get(before)
        methods: dict[str, Entry] = {}
        arguments: list[str] = []
        if path[:1] != "/":
            pass  # no path: another form of a target
        elif known is None:
            methods, arguments = self._walk(path.split("/"), before)
        else:
            methods, arguments = _step(*known, last)
        entry = methods.get(method)
        if entry is not None:
            return entry, arguments
        if not methods:
            raise Problem("unknown_route", "docs/reference/api.md lists all paths")
        allowed = ", ".join(sorted(methods))
        raise Problem("method_not_allowed", f"allowed here: {allowed}", headers=b"Allow: %s\r\n" % allowed.encode())

    def _walk(self, parts: list[str], before: str) -> tuple[dict[str, Entry], list[str]]:
        """Return the methods served under a path, none if it is unknown. The first part is before the first slash.

        `before` is the path without its last part.
        """
        node, last = self._root, len(parts) - 1
        arguments: list[str] = []
        for at in range(1, last):
            part = parts[at]
            child = node.children.get(part)
            if child is None and part and node.parameter is not None:
                child = node.parameter
                arguments.append(part)
            if child is None:
                if node.rest is None:
                    return {}, arguments
                arguments.append("/".join(parts[at:]))
                return node.rest.methods, arguments
            node = child
        if len(before) <= KNOWN_BYTES_MAX:
            if len(self._known) >= KNOWN_MAX:
                self._known.clear()
            self._known[before] = node, tuple(arguments)
        return _step(node, tuple(arguments), parts[last])

    def _place(self, pattern: str) -> _Node:
        node = self._root
        for part in pattern.split("/")[1:]:
            if part.endswith("...}"):
                node.rest = node.rest or _Node()
                node = node.rest
            elif part.startswith("{"):
                node.parameter = node.parameter or _Node()
                node = node.parameter
                verb = part.partition("}")[2]
                if verb:
                    node = node.verbs.setdefault(verb, _Node())
            else:
                node = node.children.setdefault(part, _Node())
        return node


def _step(node: _Node, arguments: tuple[str, ...], last: str) -> tuple[dict[str, Entry], list[str]]:
    """Return the methods served under the `last` part of a path whose other parts lead to `node`.

    Raises `Problem` 404 for a verb that is not known.
    """
    child = node.children.get(last)
    if child is not None:
        return child.methods, [*arguments]
    child = node.parameter or node.rest
    if child is None or not last:
        return {}, [*arguments]
    if child.verbs and ":" in last:
        name, colon, verb = last.rpartition(":")
        named = child.verbs.get(colon + verb)
        if named is not None and name:
            return named.methods, [*arguments, name]
        # No name has a colon where there are verbs.
        raise Problem("unknown_route", f"there is no such verb; known here: {', '.join(sorted(child.verbs))}")
    return child.methods, [*arguments, last]
