"""A client port served from memory, and clients for it: an HTTP client, and one that sends raw bytes."""

from __future__ import annotations

from collections.abc import AsyncIterator

import aiohttp
import pytest
from aiohttp import web

from collectionstore_node.api import ApiServer, HttpLimits, make_client_server
from collectionstore_node.api.http.accounting import Accounting
from collectionstore_node.api.http.instruments import TraceOperation, TraceRequest
from collectionstore_node.service import Store, StoreLimits
from collectionstore_node.tests.api.http_clients import Client, RawClient
from collectionstore_node.tests.api.memory_replica import Admins, MemoryReplica, RecordedMetrics
from collectionstore_node.tests.api.updating import ADA, COLLECTION

LIMITS = HttpLimits(transaction_bytes_max=256 << 10, receiving_bytes_max=300_000, lingering_s=0.01)
STORE_LIMITS = StoreLimits(
    document_bytes_max=64 << 10,
    value_bytes_max=128 << 10,
    inflight_requests_max=8,
    list_bytes_max=10_000,
)


@pytest.fixture
def replica() -> MemoryReplica:
    return MemoryReplica()


@pytest.fixture
def metrics() -> RecordedMetrics:
    return RecordedMetrics()


@pytest.fixture
def admins() -> Admins:
    return Admins()


async def _render(accept: str) -> tuple[bytes, str]:
    return b"collectionstore_up 1\n", f"text/plain; version=1.0.0; for={accept}"


@pytest.fixture
def trace() -> TraceRequest | None:
    """Starts the spans of requests; overridden by the tests of traces."""
    return None


@pytest.fixture(params=[True, False], ids=["hot", "general"])
def hot(request: pytest.FixtureRequest) -> bool:
    """Whether requests may take the hot path: every test passes with it and without."""
    return bool(request.param)


@pytest.fixture
def trace_operation() -> TraceOperation | None:
    """The same for operations of streams."""
    return None


@pytest.fixture
def accounting() -> Accounting | None:
    """Limits and the audit log; overridden by their tests."""
    return None


@pytest.fixture
async def store(replica: MemoryReplica) -> Store:
    return Store(replica, STORE_LIMITS)


@pytest.fixture
async def server(
    store: Store,
    metrics: RecordedMetrics,
    admins: Admins,
    trace: TraceRequest | None,
    hot: bool,  # noqa: FBT001 - a fixture
    trace_operation: TraceOperation | None,
    accounting: Accounting | None,
) -> ApiServer:
    return make_client_server(
        store,
        LIMITS,
        metrics,
        render_metrics=_render,
        authorize_admin=admins.authorize,
        tls=False,
        trace=trace,
        hot=hot,
        trace_operation=trace_operation,
        accounting=accounting,
    )


@pytest.fixture
async def port(server: ApiServer) -> AsyncIterator[int]:
    runner = web.ServerRunner(server)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield runner.addresses[0][1]
    await runner.cleanup()


@pytest.fixture
async def client(port: int) -> AsyncIterator[Client]:
    async with aiohttp.ClientSession() as session:
        yield Client(session, port)


@pytest.fixture
async def people(client: Client) -> Client:
    """A client of a store that has the collection `people`."""
    assert (await client.send("PUT", "/api/v1/collections/people", b"")).status == 201
    return client


@pytest.fixture
async def ada(people: Client) -> Client:
    """A client of a store with the document `ada`."""
    assert (await people.put(ADA, {"name": "Ada", "n": 1, "tags": ["a"]})).status == 201
    return people


@pytest.fixture
async def crowd(people: Client) -> Client:
    """A client of a store with 20 documents, which have numbers."""
    for at in range(20):
        assert (await people.put(f"{COLLECTION}/documents/d{at:02}", {"n": at})).status == 201
    return people


@pytest.fixture
def raw(port: int) -> RawClient:
    return RawClient(port)
