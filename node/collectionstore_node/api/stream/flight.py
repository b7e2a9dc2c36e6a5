"""`Flight`: one operation from when it is taken to its answer, and `Stream`: where it came from."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Sequence
from time import perf_counter
from typing import TYPE_CHECKING, Any, Protocol

from collectionstore_node.access.current import CALLER
from collectionstore_node.api.http.accounting import Account
from collectionstore_node.api.http.instruments import OperationTrace
from collectionstore_node.api.http.options import TIMEOUT_MIN_S
from collectionstore_node.api.stream.codec import Codec, Received
from collectionstore_node.api.stream.operations import Answer, Item

if TYPE_CHECKING:
    from collectionstore_node.api.budgets.clients import Client
    from collectionstore_node.api.stream.watching import StreamWatch
    from collectionstore_node.service.operations import Action, Read
    from collectionstore_node.service.results import Outcome


class Flight:
    """An operation, and what is known of it; `size_bytes` is what it takes of the stream's credit.

    A write is the `Waiter` of its own outcome: no future stands between the two.
    """

    __slots__ = (
        "account",
        "action",
        "caller",
        "counted",
        "entered",
        "error",
        "key",
        "made",
        "operation",
        "outcome",
        "size_bytes",
        "started",
        "stream",
        "target",
        "tell",
        "timeout_s",
        "told",
        "trace",
    )

    def __init__(self, operation: Received, size_bytes: int, timeout_s: float) -> None:
        self.operation = operation
        self.size_bytes = size_bytes
        self.timeout_s = timeout_s
        self.started = perf_counter()
        self.entered = False
        """Whether it has a place among the requests in flight."""
        self.action: Action | None = None
        """The write that it became, and `key` its idempotency key."""
        self.key: str | None = None
        self.target: Read | None = None
        """What it reads, if it is a single read."""
        self.made: str | None = None
        """The ID of the document that it inserts."""
        self.trace: OperationTrace | None = None
        self.account: Account | None = None
        """What is told behind it, for limits and the audit log."""
        self.told = False
        """Whether its write has an outcome, or the error that came in its place."""
        self.outcome: Outcome | None = None
        self.error: BaseException | None = None

    def submitted(self, stream: Stream, tell: Callable[[Flight], None]) -> None:
        """Note that its write is about to begin; `tell` is called when it is told."""
        self.stream = stream
        self.tell = tell
        self.caller = CALLER.get()
        self.counted = 0.0
        """When the write was counted in, see `Store.submit`."""

    # Implements `Waiter`

    def done(self) -> bool:
        """Whether it needs no result any more: an operation runs to its end, also when its stream has ended."""
        return self.told

    def set_result(self, result: Outcome, /) -> None:
        """Take the outcome."""
        self.told = True
        self.outcome = result
        self.tell(self)

    def set_exception(self, exception: BaseException, /) -> None:
        """Take the error that came in its place."""
        self.told = True
        self.error = exception
        self.tell(self)

    @property
    def age_s(self) -> float:
        """How long ago it was taken."""
        return perf_counter() - self.started

    @property
    def left_s(self) -> float:
        """What is left of its budget, never 0."""
        return max(TIMEOUT_MIN_S, self.timeout_s - self.age_s)

    @property
    def parent(self) -> bytes | None:
        """The operation's span, if it is sampled."""
        return None if self.trace is None else self.trace.carried


class Stream(Protocol):
    """The connection as an operation needs it."""

    codec: Codec
    ended: bool
    """Whether no answer can be sent any more."""
    draining: bool
    """Whether the node stops, and takes no more operations."""
    client: Client
    watches: dict[int, StreamWatch]
    """Its watches, by the tags of the operations that opened them."""

    def tell(self, item: Item) -> None:
        """Send what is no answer."""

    def watch_ended(self, tag: int) -> None:
        """Note that a watch has ended."""

    def hang_up(self) -> None:
        """Close the connection behind what was written."""

    def answer(self, flight: Flight, answer: Answer) -> None:
        """Send the answer of an operation."""

    def fail(self, flight: Flight, error: Exception) -> None:
        """Send the problem of an operation."""

    def broke(self, flight: Flight, error: Exception) -> None:
        """End the stream: an operation can be given no answer, not even its problem, because of a bug."""

    def spawn(self, flights: Sequence[Flight], work: Coroutine[Any, Any, None]) -> None:
        """Run work in a task; what it raises is the problem of those operations that are not answered yet."""

    @property
    def crowded(self) -> bool:
        """Whether so many answers wait that reads must wait, too."""

    async def room(self) -> None:
        """Return when that may have changed."""
