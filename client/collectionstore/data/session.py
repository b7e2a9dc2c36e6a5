"""The connection of a command to its cluster: opened when it is first used, kept by the shell, closed at the end."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Awaitable, Callable, Iterator
from typing import Any, Final, TypeVar

import click

from collectionstore.cli.exit_codes import ExitCode
from collectionstore.contexts.targets import Choice, Target, opened, target
from collectionstore.data.problems import DataError, as_command_error
from collectionstore.data.store import Store
from collectionstore.errors import CollectionStoreError

T = TypeVar("T")
USER_AGENT: Final = "csctl"


class Session:
    """One cluster, by one way. Not for several threads; closed by `close`."""

    def __init__(self, choice: Choice, *, timeout_s: float | None = None, anonymous: bool = False) -> None:
        """`anonymous`: without the credentials of the context, as before a login."""
        self.choice = choice
        self._anonymous = anonymous
        self._overrides: dict[str, Any] = {"user_agent": USER_AGENT}
        if timeout_s is not None:
            self._overrides["timeout_s"] = timeout_s
        self._runner: asyncio.Runner | None = None
        self._store: Store | None = None
        self._target: Target | None = None
        self._way = contextlib.ExitStack()
        self._trouble: Callable[[], str] = str
        self._turn = threading.Lock()
        """The shell completes in a thread."""

    @property
    def target(self) -> Target:
        """Where it goes. Raises CommandError if that is nowhere."""
        if self._target is None:
            self._target = target(self.choice)
        return self._target

    def run(self, work: Callable[[Store], Awaitable[T]], what: str) -> T:
        """Do something with the store and return its result; `what` begins the message of an error: `cannot count`.

        Raises CommandError. Ctrl-C cancels the work and raises KeyboardInterrupt.
        """
        try:
            with self._turn, told(what):
                if self._runner is None:
                    self._runner = asyncio.Runner()
                return self._runner.run(self._within(work))
        except DataError as error:
            if error.exit_code is ExitCode.UNAVAILABLE and (trouble := self._trouble()):
                raise DataError(f"{error}\n{trouble}", error.exit_code, code=error.code) from error
            raise

    async def _within(self, work: Callable[[Store], Awaitable[T]]) -> T:
        if self._store is None:
            way = self._way.enter_context(opened(self.target, anonymous=self._anonymous, **self._overrides))
            self._trouble = way.trouble
            self._store = Store(way.options)
        return await work(self._store)

    def close(self) -> None:
        """Close the connection; the session may be used again, and connects again then."""
        runner, store = self._runner, self._store
        self._runner, self._store, self._target = None, None, None
        try:
            if runner is not None:
                if store is not None:
                    runner.run(store.close())
                runner.close()
        finally:
            self._way.close()
            self._way = contextlib.ExitStack()


class Shared:
    """What the commands of a shell share: the `obj` of their contexts."""

    def __init__(self, session: Session) -> None:
        self.session = session


def shared_session(context: click.Context) -> Session | None:
    """Return the session of the shell in which a command runs; None outside of one."""
    found = context.find_root().obj
    return found.session if isinstance(found, Shared) else None


@contextlib.contextmanager
def told(what: str) -> Iterator[None]:
    """Turn errors of the client into those of a command, whose message begins with `what`."""
    try:
        yield
    except CollectionStoreError as error:
        raise as_command_error(error, what) from error
