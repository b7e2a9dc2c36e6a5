"""One cluster as the verbs see it: a resource with its status, a few changes, logs, and the planner.

Two implementations: `kubernetes_access`, and the one of collectionstore-local for clusters of this machine.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeAlias

from collectionstore.cli.exit_codes import CommandError, ExitCode

Object: TypeAlias = dict[str, Any]
"""A resource as JSON."""


class ClusterMissing(CommandError):
    """There is no such cluster, or no such member; the text says which there are."""

    exit_code = ExitCode.NOT_FOUND


class ResourceInvalid(CommandError):
    """The manifest or the change is invalid, and nothing was changed; the text has what, where and what is allowed."""

    exit_code = ExitCode.INVALID_RESOURCE


class ChangedMeanwhile(CommandError):
    """The resource is another one than was read, since it was changed meanwhile; nothing was changed by this patch."""


class WaitTimedOut(CommandError):
    """What a command waited for did not happen in time; the operator goes on. The text says what it waits for."""

    exit_code = ExitCode.TIMED_OUT


@dataclass(frozen=True, slots=True)
class LogLine:
    """One line of a member's log, without its end."""

    member: str
    text: str


@dataclass(frozen=True, slots=True)
class LogQuery:
    """Which lines of which members; `tail` None for all, `since_s` None for any age."""

    members: tuple[str, ...]
    tail: int | None
    since_s: float | None
    follow: bool


class ClusterAccess(Protocol):
    """One cluster. Every method raises CommandError with what happened and what to do."""

    @property
    def name(self) -> str: ...

    @property
    def place(self) -> str:
        """Where it is, for messages: `namespace shop`."""

    @property
    def is_local(self) -> bool:
        """Whether it runs on this machine."""

    def read(self) -> Object:
        """Return the resource with its status, as it is now."""

    def change(self, patch: Object) -> None:
        """Apply a JSON merge patch with `metadata.annotations` and `spec`. Raises ResourceInvalid.

        With `metadata.resourceVersion`, only to that version: raises ChangedMeanwhile for another one.
        """

    def replace(self, member: str, *, in_place: bool) -> None:
        """Ask for the replacement of a member, by its full name; `in_place`: without an extra member."""

    def preview(self, manifest: Object) -> Object:
        """Return what applying a manifest would do, and change nothing: `changes`, `outcome`, `steps`, `assumed`.

        Raises ResourceInvalid.
        """

    def logs(self, query: LogQuery) -> Iterator[LogLine]:
        """Yield lines of the members; with `follow` until interrupted."""

    def create(self, kind: str, body: Object) -> Object:
        """Create an object beside the resource, such as a CollectionStoreBackup. Raises CommandError where none is."""


class OpenLocal(Protocol):
    """Opens a cluster of this machine; `cluster` None for the only one. With `may_be_new` it need not exist."""

    def __call__(
        self, state_dir: Path, cluster: str | None, *, may_be_new: bool = False
    ) -> AbstractContextManager[ClusterAccess]: ...


def members_of(resource: Object) -> list[Object]:
    """Return the members in the status, by ordinal."""
    found: list[Object] = list((resource.get("status") or {}).get("members") or ())
    return sorted(found, key=lambda one: int(one.get("ordinal", 0)))


def member_name(resource: Object, member: str) -> str:
    """Return the full name of a member from its name or ordinal. Raises ClusterMissing."""
    name = str(resource["metadata"]["name"])
    full = f"{name}-{member}" if member.isdigit() else member
    names = [str(one["name"]) for one in members_of(resource)]
    if full not in names:
        raise ClusterMissing(f"{name} has no member {member!r}; its members: {', '.join(names) or 'none yet'}")
    return full


def member_names(resource: Object, members: Sequence[str]) -> tuple[str, ...]:
    """Return the full names of members, each once. Raises ClusterMissing."""
    return tuple(dict.fromkeys(member_name(resource, one) for one in members))
