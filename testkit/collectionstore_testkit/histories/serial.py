"""Whether committed transactions are serializable: replayed in the order of their revisions, all reads must be as read.

Revisions are the order in which the store applied them. So this asks for more than an order that explains the reads:
it asks that the store's own order does.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from collectionstore_testkit.histories.draft import Document, Draft, Name


@dataclass(frozen=True, slots=True)
class Committed:
    """A transaction that was committed at `revision`."""

    revision: int
    draft: Draft


def replay(
    begin: Mapping[Name, tuple[int, Document]], committed: Iterable[Committed]
) -> tuple[list[str], dict[Name, tuple[int, Document]]]:
    """Return what is wrong with the reads of `committed`, nothing if they are serializable; and what is there then.

    `begin` has revision and document of all that was there before.
    """
    state = dict(begin)
    wrong: list[str] = []
    last = 0
    for one in sorted(committed, key=lambda each: each.revision):
        at = f"the transaction at revision {one.revision}"
        if one.revision == last:
            wrong.append(f"{at} shares it with another one")
        last = one.revision
        for name, read in one.draft.reads.items():
            found = state.get(name, (0, None))
            if found != read:
                wrong.append(f"{at} has read {'/'.join(name)} at revision {read[0]}, and it was at {found[0]}")
        for query in one.draft.queries:
            matches = {
                name: pair
                for (collection, name), pair in state.items()
                if collection == query.collection and _matches(query.filter, pair[1])
            }
            if matches != query.found:
                wrong.append(f"{at} has found {sorted(query.found)}, and there were {sorted(matches)}")
        for name, document in one.draft.writes.items():
            if document is None:
                state.pop(name, None)
            else:
                state[name] = one.revision, document
    return wrong, state


def _matches(filter_: Document, document: Document) -> bool:
    return all(document.get(name) == value for name, value in filter_.items())
