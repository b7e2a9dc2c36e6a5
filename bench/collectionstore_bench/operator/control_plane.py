"""etcd, kube-apiserver and the StatefulSet and disruption controllers as local processes; no machines, no scheduler.

The programs are those of `make kube-up`, of the same versions. Every request of the operator goes into the audit log.
"""

from __future__ import annotations

import asyncio
import json
import secrets
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import aiohttp
import trustme
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from collectionstore_bench.operator.api import Access
from collectionstore_testkit.clusters.errors import ClusterFailed
from collectionstore_testkit.commands import with_parent
from collectionstore_testkit.progress import Progress
from collectionstore_testkit.tools.go_programs import build
from collectionstore_testkit.tools.kubernetes_programs import ETCD, KUBERNETES

OPERATOR: Final = "operator"
"""The user that the operator authenticates as."""
START_S: Final = 60.0
STOP_S: Final = 15.0
HOST: Final = "127.0.0.1"


@dataclass(frozen=True, slots=True)
class ControlPlane:
    """A running control plane."""

    access: Access
    """Of the administrator."""
    kubeconfig: Path
    """Of the operator."""
    audit: Path
    folder: Path


@asynccontextmanager
async def control_plane(folder: Path, base_port: int) -> AsyncIterator[ControlPlane]:
    """Start a control plane with its files in `folder`; stop it at the end. Raises ClusterFailed.

    Uses `base_port` and the two next ones.
    """
    programs, kubernetes = build(ETCD, Progress()), build(KUBERNETES, Progress())
    tokens = {"admin": secrets.token_hex(16), OPERATOR: secrets.token_hex(16)}
    url = f"https://{HOST}:{base_port + 2}"
    _write_files(folder, tokens, url)
    made = ControlPlane(
        Access(url, folder / "ca.crt", tokens["admin"]), folder / f"{OPERATOR}.json", folder / "audit.log", folder
    )
    async with AsyncExitStack() as running:
        await running.enter_async_context(_program("etcd", _etcd(programs, folder, base_port), folder))
        api_server = _api_server(kubernetes, folder, base_port)
        await running.enter_async_context(_program("kube-apiserver", api_server, folder))
        await _ready(made)
        controllers = [
            str(kubernetes / "kube-controller-manager"),
            f"--kubeconfig={folder / 'admin.json'}",
            "--controllers=statefulset-controller,disruption-controller",
            "--leader-elect=false",
            "--secure-port=0",
            "--kube-api-qps=500",
            "--kube-api-burst=1000",
            "--concurrent-statefulset-syncs=16",
        ]
        await running.enter_async_context(_program("kube-controller-manager", controllers, folder))
        yield made


def _etcd(programs: Path, folder: Path, base_port: int) -> list[str]:
    client, peer = (f"http://{HOST}:{base_port + offset}" for offset in (0, 1))
    return [
        str(programs / "etcd"),
        f"--data-dir={folder / 'etcd'}",
        f"--listen-client-urls={client}",
        f"--advertise-client-urls={client}",
        f"--listen-peer-urls={peer}",
        f"--initial-advertise-peer-urls={peer}",
        f"--initial-cluster=default={peer}",
        # Not what is measured, and the disk is shared.
        "--unsafe-no-fsync",
        "--log-level=warn",
    ]


def _api_server(programs: Path, folder: Path, base_port: int) -> list[str]:
    return [
        str(programs / "kube-apiserver"),
        f"--etcd-servers=http://{HOST}:{base_port}",
        f"--bind-address={HOST}",
        f"--secure-port={base_port + 2}",
        "--service-cluster-ip-range=10.96.0.0/16",
        "--authorization-mode=RBAC",
        f"--token-auth-file={folder / 'tokens.csv'}",
        f"--tls-cert-file={folder / 'tls.crt'}",
        f"--tls-private-key-file={folder / 'tls.key'}",
        f"--service-account-issuer={'https://kubernetes.default.svc'}",
        f"--service-account-key-file={folder / 'accounts.key'}",
        f"--service-account-signing-key-file={folder / 'accounts.key'}",
        # Without their controllers, what these ask for is never there.
        "--disable-admission-plugins=ServiceAccount,StorageObjectInUseProtection",
        "--endpoint-reconciler-type=none",
        f"--audit-log-path={folder / 'audit.log'}",
        f"--audit-policy-file={folder / 'audit.json'}",
        "--audit-log-mode=blocking",
        "--profiling=false",
    ]


def _write_files(folder: Path, tokens: Mapping[str, str], url: str) -> None:
    authority = trustme.CA()
    pair = authority.issue_cert(HOST, "localhost")
    authority.cert_pem.write_to_path(folder / "ca.crt")
    pair.private_key_pem.write_to_path(folder / "tls.key")
    (folder / "tls.crt").write_bytes(b"".join(one.bytes() for one in pair.cert_chain_pems))
    accounts = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    encoding, form = serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL
    (folder / "accounts.key").write_bytes(accounts.private_bytes(encoding, form, serialization.NoEncryption()))
    lines = [f'{token},{user},{user},"system:masters"\n' for user, token in tokens.items()]
    (folder / "tokens.csv").write_text("".join(lines))
    policy = {
        "apiVersion": "audit.k8s.io/v1",
        "kind": "Policy",
        "omitStages": ["RequestReceived"],
        "rules": [{"level": "Metadata", "users": [OPERATOR]}, {"level": "None"}],
    }
    (folder / "audit.json").write_text(json.dumps(policy))
    for user, token in tokens.items():
        (folder / f"{user}.json").write_text(json.dumps(_kubeconfig(url, folder / "ca.crt", user, token)))


def _kubeconfig(url: str, authority: Path, user: str, token: str) -> dict[str, object]:
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "bench", "cluster": {"server": url, "certificate-authority": str(authority)}}],
        "users": [{"name": user, "user": {"token": token}}],
        "contexts": [{"name": "bench", "context": {"cluster": "bench", "user": user}}],
        "current-context": "bench",
    }


async def _ready(made: ControlPlane) -> None:
    tls = ssl.create_default_context(cafile=str(made.access.authority))
    headers = {"Authorization": f"Bearer {made.access.token}"}
    try:
        async with asyncio.timeout(START_S), aiohttp.ClientSession(headers=headers) as session:
            while True:
                if await _answers(session, f"{made.access.url}/readyz", tls):
                    return
                await asyncio.sleep(0.2)
    except TimeoutError:
        end = (made.folder / "kube-apiserver.log").read_text()[-2000:]
        raise ClusterFailed(f"the API server was not ready within {START_S:g} s: {end}") from None


async def _answers(session: aiohttp.ClientSession, url: str, tls: ssl.SSLContext) -> bool:
    try:
        async with session.get(url, ssl=tls) as answer:
            return answer.status == 200
    except aiohttp.ClientError:
        return False


@asynccontextmanager
async def _program(name: str, command: list[str], folder: Path) -> AsyncIterator[None]:
    with (folder / f"{name}.log").open("ab") as log:
        process = await asyncio.create_subprocess_exec(*with_parent(command), stdout=log, stderr=log)
    try:
        yield
    finally:
        await end(process)


async def end(process: asyncio.subprocess.Process) -> None:
    """End a process that this program has started."""
    if process.returncode is None:
        process.terminate()
        try:
            async with asyncio.timeout(STOP_S):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()
