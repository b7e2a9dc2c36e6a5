"""Traces of the whole product: real nodes and their supervisor send them to a real OTLP receiver.

One cluster for the module, since starting one takes seconds; the tests run in order and the last ends the receiver.
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
import sys
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import pytest_asyncio
from prometheus_client.parser import text_string_to_metric_families

from collectionstore_testkit.otlp_receiver import OtlpReceiver, ReceivedSpan, tree

CSCTL = str(Path(sys.executable).with_name("csctl"))
DEADLINE_S = 120
PORTS = range(23_700, 23_880, 30)
TRACE_ID = "4bf92f3577b34da6a3ce929d0e0e4736"
CLIENT_SPAN = "00f067aa0ba902b7"
SAMPLED = {"traceparent": f"00-{TRACE_ID}-{CLIENT_SPAN}-01"}


pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.xdist_group("traces")]


def free_base_port() -> int:
    """Return a port with 30 after it that are not in use."""
    for base in PORTS:
        try:
            for port in range(base, base + 30):
                with socket.socket() as one:
                    one.bind(("127.0.0.1", port))
        except OSError:
            continue
        return base
    raise AssertionError("no free ports")


class TracedCluster:
    """Three members and a supervisor whose environment names the receiver."""

    def __init__(self, folder: Path, receiver: OtlpReceiver) -> None:
        self._folder = folder
        self._environment = {
            **os.environ,
            "COLLECTIONSTORE_STATE_DIR": str(folder / "state"),
            "OTEL_EXPORTER_OTLP_ENDPOINT": receiver.url,
            "OTEL_EXPORTER_OTLP_TIMEOUT": "0.2",
            "OTEL_BSP_SCHEDULE_DELAY": "50",
        }
        self.base_port = free_base_port()

    async def csctl(self, *arguments: str) -> str:
        """Run `csctl local`. Fails the test when it fails."""
        with (self._folder / "csctl.txt").open("w+") as output:
            process = await asyncio.create_subprocess_exec(
                CSCTL, "local", *arguments, env=self._environment, stdout=output, stderr=output
            )
            async with asyncio.timeout(DEADLINE_S):
                code = await process.wait()
            output.seek(0)
            said = output.read()
        assert code == 0, said
        return said

    async def up(self) -> None:
        """Start it and wait until it is ready."""
        resource = {
            "apiVersion": "collectionstore.io/v1alpha1",
            "kind": "CollectionStoreCluster",
            "metadata": {"name": "traced"},
            "spec": {"replicas": 3, "local": {"basePort": self.base_port}, "tls": {"client": "Disabled"}},
        }
        path = self._folder / "cluster.json"  # JSON is YAML
        path.write_text(json.dumps(resource))
        await self.csctl("up", "-f", str(path))

    def url(self, ordinal: int) -> str:
        """Return where a member serves clients."""
        return f"http://127.0.0.1:{self.base_port + 10 * ordinal}"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def receiver() -> AsyncIterator[OtlpReceiver]:
    async with OtlpReceiver() as one:
        yield one


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def cluster(tmp_path_factory: pytest.TempPathFactory, receiver: OtlpReceiver) -> AsyncIterator[TracedCluster]:
    made = TracedCluster(tmp_path_factory.mktemp("traced"), receiver)
    try:
        await made.up()
        yield made
    finally:
        await made.csctl("clean", "--yes")


async def followers_first(cluster: TracedCluster, session: aiohttp.ClientSession) -> list[int]:
    """Return the ordinals of the members, the leader last."""
    async with session.get(f"{cluster.url(0)}/status") as response:
        status: dict[str, Any] = await response.json()
    leader = int(status["leader"]["name"].rsplit("-", 1)[1])
    return [ordinal for ordinal in range(3) if ordinal != leader] + [leader]


async def test_a_write_to_a_follower_is_traced_across_all_three_members(
    cluster: TracedCluster, receiver: OtlpReceiver
) -> None:
    """The way of the write is one tree; what followers do on their own is linked to it."""
    async with aiohttp.ClientSession() as session:
        asked, other, leader = await followers_first(cluster, session)
        async with session.put(f"{cluster.url(0)}/api/v1/collections/people") as response:
            assert response.status == 201
        url = f"{cluster.url(asked)}/api/v1/collections/people/documents/secret-id"
        async with session.put(url, json={"name": "secret name"}, headers=SAMPLED) as response:
            assert response.status == 201
            revision = int(response.headers["X-Revision"])

    def complete(_spans: Sequence[ReceivedSpan]) -> bool:
        return len(receiver.linked_to(TRACE_ID)) == 2 and len(receiver.of(TRACE_ID)) >= 9

    await receiver.until(complete)
    trace = receiver.of(TRACE_ID)
    route = "/api/v1/collections/{collection}/documents/{id}"
    a, b, c = f"traced-{asked}", f"traced-{leader}", f"traced-{other}"
    assert tree(trace) == "\n".join(
        [
            f"{a} SERVER PUT {route}",
            f"  {a} CLIENT forward put",
            f"    {b} SERVER propose put",
            f"      {b} INTERNAL queue",
            f"      {b} INTERNAL append",
            f"      {b} INTERNAL quorum",
            f"      {b} INTERNAL fsync",
            f"      {b} INTERNAL apply",
            f"  {a} INTERNAL answer",
        ]
    )
    by_name = {span.name: span for span in trace}
    request, propose = by_name[f"PUT {route}"], by_name["propose put"]
    assert request.parent_id == CLIENT_SPAN
    assert request.attributes["http.response.status_code"] == 201
    assert request.attributes["http.route"] == route
    assert propose.attributes["db.system.name"] == "collectionstore"
    assert propose.attributes["db.operation.name"] == "put"
    assert propose.attributes["db.collection.name"] == "people"
    assert propose.attributes["db.response.status_code"] == "OK"
    assert propose.attributes["collectionstore.revision"] == revision
    assert not any(span.failed for span in trace)

    linked = receiver.linked_to(TRACE_ID)
    assert sorted(str(span.member) for span in linked) == sorted([a, c])
    for span in linked:
        assert (span.name, span.kind, span.links) == ("replicate", "CONSUMER", ((TRACE_ID, propose.span_id),))
        assert span.trace_id != TRACE_ID
        assert span.attributes["collectionstore.raft.index"] == propose.attributes["collectionstore.raft.index"]
        assert len(receiver.of(span.trace_id)) == 1
        assert span.events == ("append", "fsync", "apply")
    assert_nothing_secret(receiver.spans)


def assert_nothing_secret(spans: list[ReceivedSpan]) -> None:
    """Neither ids nor content of documents leave the nodes."""
    for span in spans:
        assert "secret" not in f"{span.name} {dict(span.attributes)}"


async def test_a_round_of_the_loop_is_traced_into_the_node_that_it_asks(
    cluster: TracedCluster, receiver: OtlpReceiver
) -> None:
    """The first member was bootstrapped by an action of a plan; the node's own span is a child of that action."""
    route = "POST /api/v1/cluster/bootstrap"

    def bootstrapped(spans: Sequence[ReceivedSpan]) -> bool:
        served = {span.trace_id for span in spans if span.name == route}
        return any(span.name == "reconcile" and span.trace_id in served for span in spans)

    await receiver.until(bootstrapped)
    (served,) = (span for span in receiver.spans if span.name == route and not span.failed)
    spans = {span.span_id: span for span in receiver.of(served.trace_id)}
    action = spans[served.parent_id]
    root = spans[action.parent_id]
    assert (action.name, root.name, root.parent_id) == ("Bootstrap", "reconcile", "")
    assert action.attributes["collectionstore.action.subject"] == "traced-0"
    assert action.attributes["collectionstore.action.reason"]
    assert root.resource["service.name"] == "collectionstore-operator"
    assert root.attributes["collectionstore.cluster.name"] == "traced"
    assert root.attributes["collectionstore.reconcile.result"] == "Acted"
    (step,) = (one for one in plan_of(root) if one.startswith("Bootstrap"))
    assert step
    steps = [span.name for span in spans.values() if span.parent_id == root.span_id]
    assert {"read resource", "observe", "plan", "publish status"} <= set(steps)


async def test_a_receiver_that_is_gone_costs_spans_and_nothing_else(
    cluster: TracedCluster, receiver: OtlpReceiver
) -> None:
    """Every write is answered as before; what is lost is counted."""
    await receiver.close()
    async with aiohttp.ClientSession() as session:
        written = 0
        async with asyncio.timeout(DEADLINE_S):
            while written < 50 or not await failed_spans(cluster, session):
                url = f"{cluster.url(written % 3)}/api/v1/kv/traced/key-{written}"
                async with session.put(url, data=b"value", headers=SAMPLED) as response:
                    assert response.status == 201
                written += 1


async def failed_spans(cluster: TracedCluster, session: aiohttp.ClientSession) -> float:
    """Return how many spans the first member could not deliver."""
    async with session.get(f"{cluster.url(0)}/metrics") as response:
        families = text_string_to_metric_families(await response.text())
        return sum(
            sample.value
            for family in families
            for sample in family.samples
            if sample.name == "collectionstore_tracing_spans_total" and sample.labels["result"] == "failed"
        )


def plan_of(root: ReceivedSpan) -> list[str]:
    """Return the plan's steps from the span of a round."""
    values = root.attributes["collectionstore.plan"]
    return [one.string_value for one in values.values]  # type: ignore[attr-defined]
