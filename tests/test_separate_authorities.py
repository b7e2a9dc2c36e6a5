"""A cluster of processes gets an authority for its peers alone while it runs, and its keys are rotated after it."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import ssl
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from cryptography import x509

from collectionstore_local.state.authority_files import AuthorityFiles
from collectionstore_operator.model.observed import CertificateKind
from collectionstore_operator.reconcile import pki, stored_authority
from collectionstore_testkit.clusters.local import LocalCluster, local_cluster
from collectionstore_testkit.clusters.ports import free_base_port

pytestmark = pytest.mark.xdist_group("certificates")

DEADLINE_S = 120.0
LOOK_S = 0.3


@pytest.fixture
async def cluster() -> AsyncIterator[LocalCluster]:
    port = free_base_port(30, within=range(20_000, 30_000))
    async with local_cluster(replicas=3, base_port=port, name="split", spec={"tls": {"client": "Required"}}) as one:
        yield one


def status(cluster: LocalCluster) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((cluster.state / cluster.name / "status.json").read_bytes())
    return found


def keys(cluster: LocalCluster, folder: str) -> tuple[str, ...]:
    stored = AuthorityFiles(cluster.state / cluster.name / folder).read()
    return () if stored is None else stored_authority.identifiers(stored.bundle_pem)


def nodes(cluster: LocalCluster) -> list[Path]:
    return sorted((cluster.state / cluster.name / "nodes").iterdir())


def signer(path: Path) -> str:
    return pki.issuer_identifier(path.read_bytes())


def pids(cluster: LocalCluster) -> dict[str, int]:
    return {one.name: json.loads((one / "process.json").read_bytes())["process"]["pid"] for one in nodes(cluster)}


def client(cluster: LocalCluster, pair: Path | None = None) -> ssl.SSLContext:
    """Return the context of a client that has the certificate of clients' authority, and maybe a pair."""
    context = ssl.create_default_context(cafile=str(cluster.state / cluster.name / "ca" / "ca.crt"))
    if pair is not None:
        context.load_cert_chain(pair / "tls.crt", pair / "tls.key")
    return context


async def request(cluster: LocalCluster, method: str, path: str, tls: ssl.SSLContext, **more: Any) -> list[int]:
    """Ask every member, on connections of their own; return the status codes."""
    found = []
    for url in cluster.urls(3):
        async with aiohttp.ClientSession() as session:
            target = url.replace("http:", "https:") + path
            async with session.request(method, target, ssl=tls, allow_redirects=False, **more) as answer:
                found.append(answer.status)
    return found


async def separated(cluster: LocalCluster) -> None:
    """Return when peers trust their own authority alone, and every member shows it; looks again every LOOK_S."""
    async with asyncio.timeout(DEADLINE_S):
        while True:
            peers = keys(cluster, "ca-peers")
            found = status(cluster).get("peerAuthority", {})
            conditions = {one["type"]: one["status"] for one in status(cluster)["conditions"]}
            if len(peers) == 1 and found.get("phase") == "Steady" and conditions["Ready"] == "True":
                return
            await asyncio.sleep(LOOK_S)


async def test_running_cluster_gets_an_authority_for_its_peers_and_rotates_both(cluster: LocalCluster) -> None:
    (clients,) = keys(cluster, "ca")
    tls = client(cluster)
    written = await request(cluster, "PUT", "/api/v1/kv/a/b", tls, data=b"before")
    assert set(written) <= {200, 201}
    await cluster.apply({"tls": {"client": "Required", "authorities": "Separate"}})
    await separated(cluster)
    (own,) = keys(cluster, "ca-peers")
    assert own != clients
    assert keys(cluster, "ca") == (clients,), "clients need no other certificate than before"
    for one in nodes(cluster):
        assert (signer(one / "tls" / "tls.crt"), signer(one / "tls-clients" / "tls.crt")) == (own, clients)
        assert stored_authority.identifiers((one / "tls" / "ca.crt").read_bytes()) == (own,)
        node_id = json.loads((one / "data" / "IDENTITY").read_bytes())["node_id"]
        shown = x509.load_pem_x509_certificate((one / "tls" / "tls.crt").read_bytes())
        names = shown.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        wanted = f"collectionstore-node:{node_id if isinstance(node_id, str) else format(node_id, '016x')}"
        assert wanted in names.get_values_for_type(x509.UniformResourceIdentifier)
    assert await request(cluster, "GET", "/api/v1/kv/a/b", tls) == [200, 200, 200]

    before = pids(cluster)
    await cluster.csctl("rotate-authority", "--timeout", f"{DEADLINE_S:g}", timeout_s=DEADLINE_S + 30)
    await separated(cluster)
    assert pids(cluster) == before
    assert keys(cluster, "ca") != (clients,)
    assert keys(cluster, "ca-peers") != (own,)
    assert await request(cluster, "GET", "/api/v1/kv/a/b", client(cluster)) == [200, 200, 200]


async def test_no_certificate_of_a_member_changes_the_cluster(cluster: LocalCluster) -> None:
    await cluster.apply({"tls": {"client": "Required", "authorities": "Separate"}})
    await separated(cluster)
    path = "/api/v1/cluster/transfer-leadership"
    body: dict[str, Any] = {"json": {}}
    member = nodes(cluster)[0]
    for pair in ("tls-clients", "tls"):
        # In the handshake: one is for servers alone, the other is not of the authority of clients.
        with pytest.raises((aiohttp.ClientError, ssl.SSLError, ConnectionError)):
            await request(cluster, "POST", path, client(cluster, member / pair), **body)
    operator = cluster.state / cluster.name / "operator"
    answers = await request(cluster, "POST", path, client(cluster, operator), **body)
    assert set(answers) <= {200, 307}, answers


def end_all_certificates(cluster: LocalCluster) -> None:
    """Replace both authorities and every leaf by ones of the same keys and names that have ended."""
    folder, year_s = cluster.state / cluster.name, 365 * 86_400
    cluster_id, then = status(cluster)["clusterID"], time.time() - 2 * year_s
    ended = {}
    for name in ("ca", "ca-peers"):
        key_pem = (folder / name / "ca.key").read_bytes()
        ended[name] = pki.make_authority(cluster.name, cluster_id, lifetime_s=year_s, now=then, key_pem=key_pem)
        (folder / name / "ca.crt").write_bytes(ended[name].certificate_pem)
    pairs = [(folder / "operator", "ca", CertificateKind.OPERATOR)]
    pairs += [(node / "tls", "ca-peers", CertificateKind.MEMBER) for node in nodes(cluster)]
    pairs += [(node / "tls-clients", "ca", CertificateKind.SERVER) for node in nodes(cluster)]
    for pair, authority, kind in pairs:
        names = pki.read_certificate((pair / "tls.crt").read_bytes(), kind, "x").names
        signing = ended[authority]
        leaf = pki.make_leaf(signing, kind=kind, name="x", names=names, lifetime_s=year_s, now=then)
        (pair / "tls.key").write_bytes(leaf.key_pem)
        (pair / "ca.crt").write_bytes(signing.certificate_pem)
        (pair / "tls.crt").write_bytes(leaf.certificate_pem)


async def test_everything_of_both_authorities_expires_and_recovers_without_hands(cluster: LocalCluster) -> None:
    """No supervisor ran for longer than anything lived, and every machine was restarted."""
    await cluster.apply({"tls": {"client": "Required", "authorities": "Separate"}})
    await separated(cluster)
    before = keys(cluster, "ca"), keys(cluster, "ca-peers")
    os.kill(cluster.supervisor_pid(), signal.SIGKILL)
    end_all_certificates(cluster)
    for pid in pids(cluster).values():
        os.kill(pid, signal.SIGKILL)
    await cluster.resume()
    await separated(cluster)
    assert (keys(cluster, "ca"), keys(cluster, "ca-peers")) == before, "clients need no other certificate"
    written = await request(cluster, "PUT", "/api/v1/kv/a/b", client(cluster), data=b"after")
    assert set(written) <= {200, 201}
    conditions = {one["type"]: one["status"] for one in status(cluster)["conditions"]}
    assert conditions["CertificatesReady"] == "True"
