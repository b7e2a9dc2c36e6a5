"""Traces of the whole product: real nodes and their supervisor send them to a real OTLP receiver."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from collectionstore_node.tests.tracing.otlp_receiver import OtlpReceiver, ReceivedSpan, tree

CSCTL = str(Path(sys.executable).with_name("csctl"))
DEADLINE_S = 120
PORTS = range(23_700, 23_880, 30)
TRACE_ID = "4bf92f3577b34da6a3ce929d0e0e4736"
CLIENT_SPAN = "00f067aa0ba902b7"
SAMPLED = {"traceparent": f"00-{TRACE_ID}-{CLIENT_SPAN}-01"}


def free_base_port() -> int:
    """Return a port with 30 after it that nobody listens on now."""
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
    """Three members whose environment names the receiver, and asks for no traces but those of sampled clients."""

    def __init__(self, folder: Path, receiver: OtlpReceiver) -> None:
        self._folder = folder
        self._environment = {
            **os.environ,
            "COLLECTIONSTORE_STATE_DIR": str(folder / "state"),
            "OTEL_EXPORTER_OTLP_ENDPOINT": receiver.url,
            "OTEL_TRACES_SAMPLER": "parentbased_always_off",
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


@pytest.fixture
async def receiver() -> AsyncIterator[OtlpReceiver]:
    async with OtlpReceiver() as one:
        yield one


@pytest.fixture
async def cluster(tmp_path: Path, receiver: OtlpReceiver) -> AsyncIterator[TracedCluster]:
    made = TracedCluster(tmp_path, receiver)
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

    def complete(spans: object) -> bool:
        done = {span.span_id for span in receiver.linked_to(TRACE_ID)}
        applied = [span for span in receiver.spans if span.parent_id in done and span.name == "apply"]
        return len(applied) == 2 and len(receiver.of(TRACE_ID)) >= 9

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
    assert not any(span.failed for span in receiver.spans)

    linked = receiver.linked_to(TRACE_ID)
    assert sorted(str(span.member) for span in linked) == sorted([a, c])
    for span in linked:
        assert (span.name, span.kind, span.links) == ("replicate", "CONSUMER", ((TRACE_ID, propose.span_id),))
        assert span.trace_id != TRACE_ID
        assert span.attributes["collectionstore.raft.index"] == propose.attributes["collectionstore.raft.index"]
        stages = [one.name for one in sorted(receiver.of(span.trace_id), key=lambda one: one.begins)]
        assert stages == ["replicate", "append", "fsync", "apply"]
    assert_nothing_secret(receiver.spans)


def assert_nothing_secret(spans: list[ReceivedSpan]) -> None:
    """Neither ids nor content of documents leave the nodes."""
    for span in spans:
        assert "secret" not in f"{span.name} {dict(span.attributes)}"
