"""The objects of one watch, up to the resourceVersion that was received last. Pure.

Objects are kept as JSON text and decoded for each reader: a tenth of the memory, and no reader can change what another
one reads. ResourceVersions of one kind are compared as numbers (KEP-5504); where they are none, nothing is cached.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Final

import msgspec

from collectionstore_operator.kubernetes.api.kinds import Body

NO_VERSION: Final = -1


class NotComparable(ValueError):
    """A resourceVersion that is no number: it cannot be told which of two is later."""


def version_of(body: Body) -> int:
    """Return the resourceVersion of an object. Raises NotComparable."""
    return number(body["metadata"].get("resourceVersion", ""))


def number(version: str) -> int:
    """Return a resourceVersion as a number. Raises NotComparable."""
    if not (version.isascii() and version.isdigit()):
        raise NotComparable(f"the resourceVersion {version!r} is not a number")
    return int(version)


@dataclass(frozen=True, slots=True)
class _Kept:
    uid: str
    version: int
    group: str
    content: bytes
    """JSON, without the resourceVersion: equal when nothing but that has changed."""


class Store:
    """The objects of one watch, by namespace and name, and by group."""

    def __init__(self, *, trim: Callable[[Body], Body], group: Callable[[Body], str]) -> None:
        """`trim` returns what is kept of an object, `group` the key under which it is listed."""
        self._trim = trim
        self._group = group
        self._kept: dict[tuple[str, str], _Kept] = {}
        self._groups: dict[tuple[str, str], dict[str, None]] = {}
        self.version = NO_VERSION
        """Everything up to this resourceVersion is in here; NO_VERSION before the first list."""

    def __len__(self) -> int:
        return len(self._kept)

    @property
    def content_bytes(self) -> int:
        """Return the size of all that is kept."""
        return sum(len(one.content) for one in self._kept.values())

    def replace(self, items: Iterable[Body], version: str) -> list[Body]:
        """Take a list as the whole truth; return what has changed, of what is gone its last state.

        Raises NotComparable, and changes nothing then.
        """
        made = {_key(one): self._keep(one) for one in items}
        reached = number(version)
        gone = [self._body(key) for key in self._kept if key not in made]
        before, self._kept, self._groups = self._kept, {}, {}
        changed = []
        for key, one in made.items():
            self._put(key, one)
            known = before.get(key)
            if known is None or (known.uid, known.content) != (one.uid, one.content):
                changed.append(self._body(key))
        self.version = reached
        return gone + changed

    def put(self, body: Body) -> Body | None:
        """Take a created or changed object; return it if more than its version has changed. Raises NotComparable."""
        key, one = _key(body), self._keep(body)
        self.version = max(self.version, one.version)
        known = self._kept.get(key)
        if known is not None and known.version >= one.version:
            return None  # it was in the list already
        self._put(key, one)
        same = known is not None and (known.uid, known.content) == (one.uid, one.content)
        return None if same else self._body(key)

    def drop(self, body: Body) -> Body | None:
        """Take a deletion; return the last state of what is gone. Raises NotComparable."""
        key, version = _key(body), version_of(body)
        self.version = max(self.version, version)
        known = self._kept.get(key)
        if known is None or known.version > version:
            return None  # one of the same name was created since
        found = self._body(key)
        del self._kept[key]
        self._ungroup(key, known)
        return found

    def reach(self, version: str) -> None:
        """Take a bookmark: nothing has changed up to this version. Raises NotComparable."""
        self.version = max(self.version, number(version))

    def find(self, namespace: str, name: str) -> Body | None:
        """Return an object; None proves only that it is not in here."""
        return self._body((namespace, name)) if (namespace, name) in self._kept else None

    def find_group(self, namespace: str, group: str) -> list[Body]:
        """Return the objects of a group in a namespace, by name; the namespace of cluster-scoped objects is empty."""
        return [self._body((namespace, name)) for name in sorted(self._groups.get((namespace, group), ()))]

    def uids(self, namespace: str, group: str) -> Iterator[str]:
        """Yield the uids of the objects of a group."""
        return (self._kept[namespace, name].uid for name in self._groups.get((namespace, group), ()))

    def _keep(self, body: Body) -> _Kept:
        kept = self._trim(body)
        metadata = {key: value for key, value in kept["metadata"].items() if key != "resourceVersion"}
        content = msgspec.json.encode({**kept, "metadata": metadata})
        return _Kept(body["metadata"].get("uid", ""), version_of(body), self._group(body), content)

    def _put(self, key: tuple[str, str], one: _Kept) -> None:
        known = self._kept.get(key)
        if known is not None:
            self._ungroup(key, known)
        self._kept[key] = one
        self._groups.setdefault((key[0], one.group), {})[key[1]] = None

    def _ungroup(self, key: tuple[str, str], known: _Kept) -> None:
        names = self._groups[key[0], known.group]
        del names[key[1]]
        if not names:
            del self._groups[key[0], known.group]

    def _body(self, key: tuple[str, str]) -> Body:
        one = self._kept[key]
        body: Body = msgspec.json.decode(one.content)
        body["metadata"]["resourceVersion"] = str(one.version)
        return body


def _key(body: Body) -> tuple[str, str]:
    metadata = body["metadata"]
    return metadata.get("namespace") or "", metadata["name"]
