"""What the API server's audit log says of one user: its requests by verb and resource. Pure.

Source: Kubernetes docs, "Auditing"; one JSON object a line, at the level Metadata.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

import msgspec


class _User(msgspec.Struct):
    username: str = ""


class _Object(msgspec.Struct):
    resource: str = ""
    subresource: str = ""


class _Line(msgspec.Struct):
    stage: str
    verb: str
    user: _User
    object: _Object | None = msgspec.field(name="objectRef", default=None)


def requests(lines: Iterable[bytes], user: str) -> Counter[tuple[str, str]]:
    """Count the requests of a user by verb and resource, at their first stage: a watch is counted when it begins."""
    counts: Counter[tuple[str, str]] = Counter()
    for line in lines:
        found = msgspec.json.decode(line, type=_Line)
        if found.user.username == user and found.stage in ("ResponseStarted", "ResponseComplete"):
            if found.verb == "watch" and found.stage == "ResponseComplete":
                continue
            what = found.object or _Object()
            resource = f"{what.resource}/{what.subresource}" if what.subresource else what.resource
            counts[found.verb, resource] += 1
    return counts
