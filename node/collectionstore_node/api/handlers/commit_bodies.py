"""The body of the end of an interactive transaction, and the `Commit` it becomes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import msgspec

from collectionstore_node.api.handlers.targets import Target, query_of, ref_of
from collectionstore_node.api.handlers.transaction_bodies import Step, check_branches, steps_of
from collectionstore_node.api.http.names import check_key
from collectionstore_node.api.http.problems import Problem
from collectionstore_node.service.commits import check_query
from collectionstore_node.service.limits import QUERY_SEEN_MAX
from collectionstore_node.service.operations import Commit, ReadQuery, ReadTarget


class SeenDocument(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A document that a query has found."""

    id: str
    revision: Annotated[int, msgspec.Meta(ge=1)]


class ReadEntry(Target, frozen=True, kw_only=True):
    """What was read: a target with its `revision`, 0 if it was absent; or what `filter` finds in `collection`.

    Of a query `revision` is that of the answer, by default `read_revision`; with `seen` all that it has found.
    """

    revision: Annotated[int, msgspec.Meta(ge=0)] | None = None
    filter: msgspec.Raw = msgspec.field(default_factory=msgspec.Raw)
    seen: list[SeenDocument] | None = None


class CommitBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The end of an interactive transaction."""

    read_revision: Annotated[int, msgspec.Meta(ge=0)] | None = None
    reads: list[ReadEntry] = []
    writes: list[Step] = []


def commit_of(body: CommitBody, key_bytes_max: int) -> Commit:
    """Return the commit that `body` describes. Raises `Problem` with the path of the offending entry."""
    # BEFORE the conversion, whose cost is per document; the store checks it again with everything else.
    if sum(len(one.seen or ()) for one in body.reads) > QUERY_SEEN_MAX:
        raise Problem("invalid_body", f"the queries of a transaction have seen at most {QUERY_SEEN_MAX} documents")
    targets: list[ReadTarget] = []
    queries: list[ReadQuery] = []
    for at, one in enumerate(body.reads):
        path = f"reads[{at}]"
        if one.filter:
            queries.append(_read_query(one, path, body.read_revision, key_bytes_max))
            continue
        if one.seen is not None:
            raise Problem("invalid_body", f"{path}.seen: goes with `filter`")
        if one.revision is None:
            raise Problem("invalid_body", f"{path}: give the `revision` that was read, 0 if there was nothing")
        targets.append(ReadTarget(ref_of(one, path, key_bytes_max), one.revision))
    return Commit(tuple(targets), tuple(queries), steps_of(body.writes, "writes", key_bytes_max))


def read_positions(body: CommitBody) -> tuple[int, ...]:
    """Return where the reads of a commit are in its body: single targets are asked first."""
    return tuple(sorted(range(len(body.reads)), key=lambda at: bool(body.reads[at].filter)))


def _read_query(read: ReadEntry, path: str, read_revision: int | None, key_bytes_max: int) -> ReadQuery:
    query = query_of(read, bytes(read.filter), path, key_bytes_max)
    if read.seen is None:
        since = read_revision if read.revision is None else read.revision
        if since is None:
            raise Problem(
                "invalid_body", f"{path}: give the `revision` of the answer, or `read_revision`, or what was `seen`"
            )
        return ReadQuery(query, since)
    if read.revision is not None:
        raise Problem("invalid_body", f"{path}: give `revision` or `seen`, not both")
    for at, one in enumerate(read.seen):
        check_key(one.id, key_bytes_max, f"{path}.seen[{at}].id")
    seen = {one.id: one.revision for one in read.seen}
    if len(seen) != len(read.seen):
        raise Problem("invalid_body", f"{path}.seen: an ID is there twice")
    return ReadQuery(query, seen=tuple(sorted(seen.items())))


def check_commit(commit: Commit, positions: Sequence[int]) -> None:
    """Check the updates of a commit and the filters of its queries; `positions` are those of its reads."""
    check_branches({"writes": commit.writes})
    for at, read in zip(positions[len(commit.targets) :], commit.queries, strict=True):
        check_query(read.query.filter, f"/reads/{at}/filter")
