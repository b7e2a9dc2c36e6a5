"""Requests made from a seed: a grammar of what clients send, and of what they should not.

`any_request` makes one request that is nearly always complete; `any_conversation` makes the bytes of a connection:
requests behind one another, some of them broken.
"""

from __future__ import annotations

import re
from random import Random

import orjson

from collectionstore_node.api.url_table import CLIENT, PAGES, PROBES
from collectionstore_node.documents.expressions.operators import OPERATORS as EXPRESSIONS
from collectionstore_node.documents.expressions.special import SPECIAL
from collectionstore_node.query.aggregation.pipeline import NAMES as STAGES

METHODS = ["GET", "HEAD", "PUT", "POST", "DELETE", "PATCH", "OPTIONS", "TRACE", "CONNECT"]
NAMES = ["people", "a", "b", "k"] * 6 + ["x/y", "%2F", "%00", "%ff", "%", "..", "A", "%C3%A9"]
PARAMETERS = ["limit=1", "cursor=AQ", "prefix=k", "values=true", "timeout=900ms", "redirect=true", "consistency=stale"]
PARAMETERS += [
    "filter={}",
    "filter={%22a%22:{%22$gt%22:1}}",
    "sort=-a,b",
    "sort=$x",
    "fields=a.b",
    "filter=[",
    "fields=,",
]
PARAMETERS += ["when={}", "when={%22n%22:1}", "when=[", "upsert=true", "return=after", "array_filters=[{%22x%22:1}]"]
PARAMETERS += ["mode=atomic", "mode=unordered", "mode=x"]
PARAMETERS += ["ttl=1s", "ttl=none", "ttl=-1", "lease=3", "lease=x", "ack=leader", "ack=queued", "ack=x"]
PARAMETERS += ["at_revision=1", "at_revision=999", "min_revision=1", "min_revision=-1", "hint=a", "format=csv", "types=x"]
PARAMETERS += ["from=0", "from=snapshot", "from=x", "ops=insert,delete", "ops=x", "before=true", "consumer=k"]
PARAMETERS += ["limit=0", "timeout=x", "prefix=", "=", "&", "#", "%ff=1"]
HEADERS = [b"If-Match", b"If-None-Match", b"Idempotency-Key", b"X-Request-Id", b"Expect", b"Content-Encoding"]
VALUES = [b"*", b'"1"', b'W/"2", "3"', b"k", b"identity", b"100-continue", b"\xff", b""]
CONTENT_TYPES = [b"application/json"] * 8 + [b"text/plain", b"x", b"\xff"]
CONTENT_TYPES += [b"application/merge-patch+json", b"application/json-patch+json", b"application/x-ndjson"]
FIELDS = ["then", "else", "compare", "op", "collection", "id", "bucket", "key", "value", "document", "field", "operand"]
FIELDS += ["operator", "if_revision", "if_exists", "content_type", "changes", "action", "node_id", "epoch", "replaces"]
FIELDS += ["expected_index", "name", "_a"]
FIELDS += ["filter", "sort", "projection", "limit", "skip", "cursor", "explain"]
FIELDS += ["update", "merge_patch", "json_patch", "replacement", "remove", "return", "many", "upsert", "array_filters"]
FIELDS += ["when", "path", "from"]
FIELDS += ["ttl", "lease", "owner", "token", "force", "reads", "writes", "seen", "revision", "schema", "ids", "mode"]
FIELDS += ["ops", "fields", "before", "version", "defaults", "after", "at_revision"]
UPDATERS = [
    "$set",
    "$unset",
    "$inc",
    "$mul",
    "$min",
    "$max",
    "$rename",
    "$push",
    "$addToSet",
    "$pull",
    "$pullAll",
    "$pop",
]
PLACES = ["n", "a", "a.b", "a.0", "a.$[]", "a.$[x]", "a.$", "_id", "", "$each", "$sort"]
OPERATORS = ["$eq", "$ne", "$gt", "$lte", "$in", "$nin", "$all", "$elemMatch", "$size", "$mod", "$regex", "$options"]
OPERATORS += ["$not", "$exists", "$type", "$bitsAllSet", "$and", "$or", "$nor", "$where", "_id", "_revision", "a.0.b"]
WORDS = ["", "people", "a", "b", "k", "put", "get", "delete", "==", "exists", "revision", "AA==", "add", "0" * 15 + "7"]
BYTES = b'{}[]",:0123456789.eE+-\\u_ nulltruefasNI\xff\0'


def any_value(random: Random, depth: int) -> object:
    """Return JSON made of the words that requests are made of."""
    match random.randrange(4 if depth > 3 else 7):
        case 0:
            return random.choice([None, True, False, 0, 1, -1, 2**63, 2**64 - 1, 0.5])
        case 1 | 2 | 3:
            return random.choice(WORDS)
        case 4:
            return [any_value(random, depth + 1) for _ in range(random.randrange(3))]
        case _:
            return {random.choice(FIELDS): any_value(random, depth + 1) for _ in range(random.randrange(4))}


def any_filter(random: Random, depth: int) -> object:
    """Return a filter; about a third of them are valid."""
    if depth > 3 or random.random() < 0.4:
        return any_value(random, 2)
    if random.random() < 0.2:
        return [any_filter(random, depth + 1) for _ in range(random.randrange(3))]
    names = [random.choice(random.choice([OPERATORS, WORDS, FIELDS])) for _ in range(random.randrange(1, 3))]
    return {name: any_filter(random, depth + 1) for name in names}


def any_query(random: Random) -> bytes:
    """Return the body of a query."""
    body: dict[str, object] = {"filter": any_filter(random, 0)}
    if random.random() < 0.3:
        body["sort"] = {random.choice(WORDS): random.choice([1, -1, 0, "x"])}
    if random.random() < 0.3:
        body["projection"] = {random.choice(WORDS): random.choice([1, 0, True, "x"])}
    if random.random() < 0.2:
        body[random.choice(["limit", "skip", "cursor", "explain", "field"])] = any_value(random, 3)
    return orjson.dumps(body)


def any_update(random: Random) -> object:
    """Return operators, a merge patch or a JSON Patch; about a third of them are valid."""
    match random.randrange(4):
        case 0:
            kinds = ["add", "remove", "replace", "move", "copy", "test", "x"]
            steps = random.randrange(3)
            return [
                {
                    "op": random.choice(kinds),
                    "path": random.choice(["/n", "/a/0", "", "x"]),
                    "value": any_value(random, 2),
                }
                for _ in range(steps)
            ]
        case 1:
            return any_value(random, 0)
    return {
        random.choice(UPDATERS): {
            random.choice(PLACES): random.choice([1, 0.5, "x", any_value(random, 2), {"$each": [1]}, {"$gt": 0}])
            for _ in range(random.randrange(3))
        }
        for _ in range(random.randrange(1, 3))
    }


def any_change(random: Random) -> bytes:
    """Return the body of an update, of what a filter finds, or of a bulk."""
    if random.random() < 0.4:
        return orjson.dumps(any_update(random))
    form = random.choice(["update", "merge_patch", "json_patch", "replacement"])
    if random.random() < 0.4:
        kinds: list[dict[str, object]] = [
            {"op": "put", "document": {}},
            {"op": "delete"},
            {"op": "update", form: any_update(random)},
            {"op": "x"},
        ]
        lines = [{**random.choice(kinds), "id": random.choice(["a", "b"])} for _ in range(random.randrange(4))]
        return b"\n".join(map(orjson.dumps, lines))
    body: dict[str, object] = {"filter": any_filter(random, 1), form: any_update(random)}
    if random.random() < 0.5:
        body["filter"] = {}
    for name in random.choices(["many", "upsert", "remove", "array_filters", "return", "limit"], k=random.randrange(3)):
        body[name] = random.choice([True, [{"x": 1}], "after", 5, any_value(random, 3)])
    return orjson.dumps(body)


def any_expression(random: Random, depth: int) -> object:
    """Return an expression, mostly a valid one."""
    if depth > 2 or random.random() < 0.3:
        return random.choice(["$a", "$$ROOT", "$$x", "$", None, 1, 0.5, -1, "x", {"$literal": "$a"}])
    name = random.choice([*EXPRESSIONS, *SPECIAL, "$x"])
    operator = EXPRESSIONS.get(name)
    if operator is not None and operator.names:
        return {name: {one: any_expression(random, depth + 1) for one in operator.names}}
    if name in ("$map", "$filter", "$reduce"):
        names = ("input", "in", "cond", "initialValue")
        return {name: {one: any_expression(random, depth + 1) for one in random.sample(names, 3)}}
    return {name: [any_expression(random, depth + 1) for _ in range(random.choice([1, 2, 2, 3]))]}


def any_pipeline(random: Random) -> bytes:
    """Return the body of an aggregation."""
    stages: list[dict[str, object]] = []
    for _ in range(random.randrange(4)):
        name = random.choice([*STAGES, "$x"])
        word = random.choice(WORDS)
        operand: object = random.choice(
            [
                {word: any_expression(random, 0)},
                {"_id": any_expression(random, 1), word: {"$sum": any_expression(random, 1)}},
                any_filter(random, 0),
                random.choice([1, 0, 3, "$a", "n", "people", {"a": 1}, {"a": -1}]),
            ]
        )
        if name == "$lookup":
            operand = {"from": "people", "localField": word, "foreignField": random.choice(WORDS), "as": "j"}
        stages.append({name: operand})
    return orjson.dumps({"pipeline": stages, "explain": random.random() < 0.2})


def any_step(random: Random) -> dict[str, object]:
    """Return an operation or a guard; about half of them are valid."""
    step: dict[str, object] = {}
    step |= random.choice([{"collection": "people", "id": "a"}, {"bucket": "b", "key": "k"}])
    step |= random.choice([{"op": "get"}, {"op": "delete"}, {"op": "put", "document": {}}, {"op": "put", "value": ""}])
    if random.random() < 0.3:
        step[random.choice(FIELDS)] = any_value(random, 2)
    return step


def any_body(random: Random) -> bytes:
    """Return bytes, nearly JSON, a transaction, a membership change, or a document."""
    match random.randrange(11):
        case 0:
            return bytes(random.choices(BYTES, k=random.randrange(40)))
        case 1:
            text = orjson.dumps(any_value(random, 0))
            at = random.randrange(len(text))
            return text[:at] + bytes(random.choices(BYTES, k=random.randrange(3))) + text[at + random.randrange(2) :]
        case 2:
            guard = {"bucket": "b", "key": "k", "field": "exists", "operand": random.choice([True, False, 1, ""])}
            body = {name: [any_step(random) for _ in range(random.randrange(3))] for name in ("then", "else")}
            return orjson.dumps({**body, "compare": [guard] * random.randrange(2)})
        case 3:
            action = random.choice(["add", "remove", "promote", "demote", "replace", "x"])
            return orjson.dumps(
                {"action": action, "node_id": "0" * 15 + "7", random.choice(FIELDS): random.choice(WORDS)}
            )
        case 4 | 5:
            return any_query(random)
        case 7 | 8 | 9:
            return any_change(random)
        case 6:
            return orjson.dumps({random.choice(["name", "node_id", "_a", "n"]): random.choice(WORDS)})
        case _:
            return b"{}"


def any_request(random: Random) -> bytes:
    """Return a request whose method and path nearly always belong together."""
    route = random.choice((*CLIENT, *PROBES, *PAGES))
    path = re.sub(r"\{[^}]*\}", lambda _: random.choice(NAMES), route.pattern)
    method = random.choice([route.method] * 20 + METHODS)
    query = "&".join(random.choices(PARAMETERS, k=random.randrange(1, 3))) if random.random() < 0.3 else ""
    if route.pattern.endswith(":watch"):
        # A page: a watch without it has no end.
        query = f"wait=0s&{query}".rstrip("&")
    headers = [(random.choice(HEADERS), random.choice(VALUES)) for _ in range(random.choice([0, 0, 0, 1, 2]))]
    lines = b"".join(b"%s: %s\r\n" % pair for pair in [(b"Content-Type", random.choice(CONTENT_TYPES)), *headers])
    body = any_pipeline(random) if route.pattern.endswith(":aggregate") else any_body(random)
    head = f"{method} {path}{'?' if query else ''}{query} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
    return head.encode() + lines + b"Content-Length: %d\r\n\r\n%s" % (len(body), body)


BROKEN_TARGETS = [
    "*",
    "//",
    "/../livez",
    "/%2e%2e/livez",
    "/livez#x",
    "http://x/livez",
    "http://xn--a/",
    "http://[::1/",
    "x:80",
]
BROKEN_TARGETS += [
    "/api/v1/kv/b/%00",
    "/api/v1/kv/b/%c0%ae",
    "/api/v1/kv/b/%ed%a0%80",
    "/" + "a" * 9_000,
    "/?" + "a=1&" * 40,
    "ftp://x/y",
]
VERSIONS = ["1.1"] * 12 + ["1.0", "1.0", "2.0", "0.9", "1.2", "9.9", ""]
FRAMING: list[bytes] = [
    b"Transfer-Encoding: chunked\r\n",
    b"Transfer-Encoding: gzip, chunked\r\n",
    b"Content-Length: 3\r\n",
]
FRAMING += [b"Content-Length: 3, 3\r\n", b"Content-Length: +3\r\n", b"Content-Length: 0x3\r\n", b"Content-Length:\r\n"]
FRAMING += [
    b"Content-Length: 3\r\nContent-Length: 4\r\n",
    b"Content-Length : 3\r\n",
    b"Transfer-Encoding: xchunked\r\n",
]
FRAMING += [
    b"Transfer-Encoding: chunked\r\nContent-Length: 3\r\n",
    b"Transfer-Encoding:\x0bchunked\r\n",
    b"Expect: 100-continue\r\n",
]
FRAMING += [
    b"Content-Encoding: identity\r\nContent-Encoding: gzip\r\n",
    b"Upgrade: websocket\r\nConnection: Upgrade\r\n",
]
FRAMING += [
    b"Host: y\r\n",
    b" folded\r\n",
    b"X: a\nY: b\r\n",
    b"X: \0\r\n",
    b"Range: bytes=0-1\r\n",
    b"Trailer: X\r\n",
    b"TE: trailers\r\n",
]
FRAMING += [
    b"A: b\r\n" * 200,
    b"A: " + b"b" * 9_000 + b"\r\n",
    b"Accept: ;;;q=x\r\n",
    b"Cookie: " + b"c" * 5_000 + b"\r\n",
]


def any_chunks(random: Random) -> bytes:
    """Return a chunked body; some have extensions, trailers, or mistakes."""
    parts = []
    for _ in range(random.randrange(4)):
        data = any_body(random)[: random.choice([1, 9, 200])]
        extension = random.choice([b"", b"", b";a=b", b";" + b"x" * 3_000, b" ", b"\t;a"])
        size = b"%x" % (len(data) + random.choice([0] * 9 + [1, -1]))
        parts.append(size + extension + b"\r\n" + data + b"\r\n")
    return b"".join(parts) + random.choice([b"0\r\n\r\n"] * 6 + [b"0\r\nX: y\r\n\r\n", b"0\r\n", b"", b"-1\r\n\r\n"])


def odd_request(random: Random) -> bytes:
    """Return a request with something unusual in its target, its version or its framing."""
    method = random.choice([*METHODS, "PRI", "get", "M" * 300, "\0"])
    target = random.choice(BROKEN_TARGETS) if random.random() < 0.5 else f"/api/v1/kv/b/{random.choice(NAMES)}"
    head = f"{method} {target} HTTP/{random.choice(VERSIONS)}\r\n".encode()
    lines = random.choices(FRAMING, k=random.choice([0, 1, 1, 2]))
    host = random.choice([b"Host: x\r\n"] * 8 + [b"", b"Host: evil.example:1\r\n", b"Host:\r\n"])
    body = any_chunks(random) if any(b"chunked" in line for line in lines) else random.choice([b"", b"abc"])
    return head + host + b"".join(lines) + b"\r\n" + body


def mutated(random: Random, message: bytes) -> bytes:
    """Return `message` with some bytes changed, removed, repeated or moved."""
    data = bytearray(message)
    for _ in range(random.choice([1, 1, 2, 5])):
        at = random.randrange(len(data) + 1)
        to = min(len(data), at + random.choice([1, 2, 16]))
        match random.randrange(5):
            case 0:
                data[at:at] = bytes(random.choices(BYTES + b"\r\n :", k=random.randrange(1, 4)))
            case 1:
                del data[at:to]
            case 2:
                data[at:at] = data[at:to] * random.choice([1, 2, 50])
            case 3:
                data[at:to] = bytes(random.randrange(256) for _ in range(to - at))
            case _:
                data[at:at] = b"\r\n"
    return bytes(data)


def any_conversation(random: Random) -> tuple[list[bytes], bool]:
    """Return what a client sends on one connection, in pieces, and whether it begins with a complete request."""
    clean = random.random() < 0.5
    messages = [any_request(random) if clean or random.random() < 0.4 else odd_request(random)]
    while random.random() < 0.3 and len(messages) < 8:
        messages.append(any_request(random) if random.random() < 0.6 else odd_request(random))
    if random.random() < 0.7:
        messages = [one.replace(b"Connection: close\r\n", b"") for one in messages]
    data = b"".join(messages)
    if not clean and random.random() < 0.6:
        data = mutated(random, data)
    if random.random() < 0.7 or len(data) < 2:
        return [data], clean
    cuts = sorted(random.randrange(1, len(data)) for _ in range(random.randrange(1, 4)))
    return [data[a:b] for a, b in zip([0, *cuts], [*cuts, len(data)], strict=True)], clean
