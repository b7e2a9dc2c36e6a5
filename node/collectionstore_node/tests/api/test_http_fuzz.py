"""No input leads to a 500, or to an answer that is not one of the API's."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator
from random import Random

import pytest
from aiohttp import web
from hypothesis import given, settings
from hypothesis import strategies as st

from collectionstore_node.api import make_client_server
from collectionstore_node.service import Store
from collectionstore_node.statemachine.commands import Action, Command, CreateCollection, DocumentRef, KeyRef, Put
from collectionstore_node.tests.api.conftest import LIMITS, STORE_LIMITS
from collectionstore_node.tests.api.memory_replica import Admins, MemoryReplica, RecordedMetrics, render_nothing
from collectionstore_node.tests.fuzz.http_grammar import any_request

PATIENCE_S = 20.0
SEED: tuple[Action, ...] = (
    CreateCollection("people"),
    Put(DocumentRef("people", "a"), b'{"n":1}'),
    Put(KeyRef("b", "k"), b"\x00", content_type="image/png"),
)


class Served:
    """A server with its own event loop, which runs only while `converse` does."""

    def __init__(self, *, hot: bool) -> None:
        self._hot = hot
        self.loop = asyncio.Runner()
        self.replica = MemoryReplica()
        self.metrics = RecordedMetrics()
        self._runner = self.loop.run(self._start())

    def close(self) -> None:
        self.loop.run(self._runner.cleanup())
        self.loop.close()

    def converse(self, message: bytes, *, ends: bool) -> bytes:
        """Return everything that is answered until the server closes.

        `ends` says that `message` asks for that; else the client closes its side behind it.
        """
        self.metrics.finished.clear()
        return self.loop.run(self._converse(message, ends=ends))

    async def _start(self) -> web.ServerRunner:
        for action in SEED:
            await self.replica.propose(Command(action), timeout_s=1)
        server = make_client_server(
            Store(self.replica, STORE_LIMITS),
            LIMITS,
            self.metrics,
            render_metrics=render_nothing,
            authorize_admin=Admins().authorize,
            tls=False,
            hot=self._hot,
        )
        runner = web.ServerRunner(server)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        return runner

    async def _converse(self, message: bytes, *, ends: bool) -> bytes:
        reader, writer = await asyncio.open_connection("127.0.0.1", self._runner.addresses[0][1])
        answer = b""
        with contextlib.suppress(ConnectionError):
            writer.write(message)
            if not ends:
                writer.write_eof()
            # A server that forgets to close is a failure, not a test without end.
            async with asyncio.timeout(PATIENCE_S):
                answer = await reader.read()
        writer.close()
        return answer


@pytest.fixture(scope="module", params=[True, False], ids=["hot", "general"])
def served(request: pytest.FixtureRequest) -> Iterator[Served]:
    served = Served(hot=request.param)
    yield served
    served.close()


def check(served: Served, answer: bytes) -> None:
    """Check that the server did not fail, and that errors are problem details."""
    assert 500 not in [status for _, _, status in served.metrics.finished]
    answer = answer.removeprefix(b"HTTP/1.1 100 Continue\r\n\r\n")
    if answer:
        assert answer.startswith(b"HTTP/1.1 ")
        status = int(answer.split()[1])
        assert status != 500
        assert status < 400 or b"Content-Type: application/problem+json\r\n" in answer


@given(st.integers(0, 2**64))
@settings(max_examples=400, deadline=None)
def test_requests_of_any_shape(served: Served, seed: int) -> None:
    """Made from a seed, because generating JSON piece by piece would take longer than serving it."""
    check(served, served.converse(any_request(Random(seed)), ends=True))


@given(st.binary(max_size=200))
@settings(max_examples=60, deadline=None)
def test_any_bytes(served: Served, message: bytes) -> None:
    check(served, served.converse(message, ends=False))
