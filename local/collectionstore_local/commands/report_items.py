"""The items of a report of a local cluster: files of its directory, pages of its members, its certificates.

`csctl report` finds `open_plan` by the entry point `collectionstore.report`.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import platform
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Final

import aiohttp
from cryptography import x509

from collectionstore.report.items import ITEM_BYTES_MAX, LOG_BYTES_MAX, Item, ItemUnavailable, ReportPlan, Shape
from collectionstore.report.pages import MEMBER_PAGES
from collectionstore_local.processes.node_records import running_process
from collectionstore_local.processes.port_allocation import HOST, member_ports
from collectionstore_local.state.applied_resource import read_desired
from collectionstore_local.state.authority_files import AUTHORITY_CERTIFICATE, KEYS
from collectionstore_local.state.credentials import CERTIFICATE, KEY
from collectionstore_local.state.directory import ClusterDirectory, NodeDirectory, StateDirectory

PAGE_TIMEOUT_S: Final = 10.0


@contextlib.asynccontextmanager
async def open_plan(state_dir: Path, cluster: str | None) -> AsyncIterator[ReportPlan]:
    """Open the plan of a local cluster's report, of the only cluster if `cluster` is None. Raises LocalError."""
    directory = StateDirectory.open(state_dir).cluster(cluster)
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=PAGE_TIMEOUT_S)) as session:
        yield _plan(directory, session)


def _plan(directory: ClusterDirectory, session: aiohttp.ClientSession) -> ReportPlan:
    items = [
        Item("machine.json", "this machine", "json", _in_thread(_machine)),
        *_cluster_files(directory),
        Item("cluster/certificates.json", str(directory.path), "json", _in_thread(partial(_certificates, directory))),
    ]
    for name in directory.node_names():
        node = directory.node(name)
        items += _member_files(node)
        if not node.volume_mark.exists() or running_process(node) is not None:  # a removed member has no pages
            items += _member_pages(directory, name, session)
    return ReportPlan(directory.name, "local", items, tuple(_known_secrets(directory)))


def _cluster_files(directory: ClusterDirectory) -> Iterator[Item]:
    for path in (
        directory.resource,
        directory.manifest,
        directory.operator_state,
        directory.status,
        directory.observed,
    ):
        yield _file(path, f"cluster/{path.name}", "json")
    yield _file(directory.events, f"cluster/{directory.events.name}", "lines")
    for path in (directory.run_state, directory.faults, directory.fault_report):
        if path.exists():
            yield _file(path, f"cluster/{path.name}", "json")
    yield from _log(directory.log, "supervisor")
    if directory.proxy_log.exists():
        yield from _log(directory.proxy_log, "supervisor")


def _member_files(node: NodeDirectory) -> Iterator[Item]:
    root = f"members/{node.name}"
    yield from _log(node.log, root)
    yield _file(node.process, f"{root}/process.json", "json")
    for path in (node.volume_mark, node.routes):
        if path.exists():
            yield _file(path, f"{root}/{path.name}", "json")
    yield Item(f"{root}/data.json", str(node.data), "json", _in_thread(partial(_listing, node.data)))


def _member_pages(directory: ClusterDirectory, name: str, session: aiohttp.ClientSession) -> Iterator[Item]:
    ports = member_ports(read_desired(directory), name)
    if ports is None:
        return
    for page in MEMBER_PAGES:
        url = f"http://{HOST}:{ports.metrics}/{page.path}"
        yield Item(f"members/{name}/{page.file}", url, page.shape, partial(fetch, session, url))


async def fetch(session: aiohttp.ClientSession, url: str) -> bytes:
    """Return the body at a URL whatever its status: a readiness page that answers 503 is a result.

    Raises ItemUnavailable, for 404 too: a member of an older version does not have every page.
    """
    try:
        async with session.get(url, allow_redirects=False) as response:
            content = bytearray()
            async for chunk in response.content.iter_any():
                content += chunk
                if len(content) >= ITEM_BYTES_MAX:
                    break
    except (aiohttp.ClientError, OSError) as error:
        raise ItemUnavailable(str(error) or type(error).__name__) from error
    if response.status == 404:
        raise ItemUnavailable("the member has no such page; its version may be older")
    return bytes(content)


def _log(path: Path, root: str) -> Iterator[Item]:
    """Yield a log and the rotated one before it, if there is one."""
    older = path.with_suffix(".log.1")
    for one in (older, path) if older.exists() else (path,):
        yield _file(one, f"{root}/{one.name}", "lines")


def _file(path: Path, name: str, shape: Shape) -> Item:
    return Item(name, str(path), shape, _in_thread(partial(_end_of, path)))


def _in_thread(read: Callable[[], bytes]) -> Callable[[], asyncio.Future[bytes]]:
    return lambda: asyncio.get_running_loop().run_in_executor(None, read)


def _end_of(path: Path) -> bytes:
    """Return the last LOG_BYTES_MAX bytes of a file, from the start of a line."""
    try:
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            file.seek(max(0, size - LOG_BYTES_MAX))
            content = file.read(LOG_BYTES_MAX)
    except FileNotFoundError as error:
        raise ItemUnavailable("the file does not exist") from error
    return content if size <= LOG_BYTES_MAX else content.partition(b"\n")[2]


def _listing(folder: Path) -> bytes:
    """Return names and sizes of the files in a data directory, and the free space of its disk; no content."""
    if not folder.is_dir():
        raise ItemUnavailable("the directory does not exist")
    files = {str(path.relative_to(folder)): path.stat().st_size for path in sorted(folder.rglob("*")) if path.is_file()}
    disk = os.statvfs(folder)
    free, total = disk.f_bavail * disk.f_frsize, disk.f_blocks * disk.f_frsize
    return json.dumps({"files": files, "disk": {"free_bytes": free, "total_bytes": total}}).encode()


def _machine() -> bytes:
    memory = Path("/proc/meminfo").read_text().splitlines()[:3] if Path("/proc/meminfo").exists() else []
    facts = {
        "system": platform.platform(),
        "python": sys.version.split()[0],
        "processors": os.cpu_count(),
        "load": os.getloadavg(),
        "memory": memory,
        "time": datetime.now(UTC).isoformat(),
    }
    return json.dumps(facts).encode()


def _certificates(directory: ClusterDirectory) -> bytes:
    """Return subject and validity of every certificate; keys are not read."""
    folders = {"operator": directory.credentials}
    folders |= {name: directory.node(name).tls for name in directory.node_names()}
    clients = {name: directory.node(name).client_tls for name in directory.node_names()}
    folders |= {f"{name} clients": folder for name, folder in clients.items() if folder.exists()}
    authorities = {"authority": directory.authority}
    if directory.peer_authority.exists():
        authorities["peer authority"] = directory.peer_authority
    found = {name: _certificate(folder / AUTHORITY_CERTIFICATE) for name, folder in authorities.items()}
    found |= {name: _certificate(folder / CERTIFICATE) for name, folder in folders.items()}
    return json.dumps(found).encode()


def _certificate(path: Path) -> dict[str, str]:
    try:
        certificate = x509.load_pem_x509_certificate(path.read_bytes())
    except (OSError, ValueError) as error:
        return {"problem": f"{type(error).__name__}: cannot be read"}
    return {
        "subject": certificate.subject.rfc4514_string(),
        "issuer": certificate.issuer.rfc4514_string(),
        "not_before": certificate.not_valid_before_utc.isoformat(),
        "not_after": certificate.not_valid_after_utc.isoformat(),
    }


def _known_secrets(directory: ClusterDirectory) -> Iterator[str]:
    """Yield the lines of every private key of the cluster: none of them may appear in the report."""
    nodes = [directory.node(name) for name in directory.node_names()]
    tls = (folder / KEY for node in nodes for folder in (node.tls, node.client_tls))
    authorities = (folder / name for folder in (directory.authority, directory.peer_authority) for name in KEYS)
    for path in (*authorities, directory.credentials / KEY, *tls):
        if path.exists():
            yield from (line for line in path.read_text().splitlines() if not line.startswith("-----"))
