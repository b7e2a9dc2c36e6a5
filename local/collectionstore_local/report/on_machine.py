"""The items of a local cluster: the files of its folder, the pages of its members, and facts about its certificates."""

from __future__ import annotations

import asyncio
import json
import os
import platform
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import aiohttp
from cryptography import x509

from collectionstore_local.processes.port_allocation import HOST, node_ports
from collectionstore_local.report.items import LOG_BYTES_MAX, Item, NotHad, Shape, Subject
from collectionstore_local.report.pages import MEMBER_PAGES, fetch
from collectionstore_local.state.credentials import AUTHORITY_CERTIFICATE, AUTHORITY_KEY, CERTIFICATE, KEY
from collectionstore_local.state.directory import ClusterDirectory, NodeDirectory, ordinal_key, read_json
from collectionstore_operator.resource.desired import Runtime, parse


def subject(directory: ClusterDirectory, session: aiohttp.ClientSession) -> Subject:
    """Return everything that is to be gathered of a local cluster."""
    items = [
        Item("machine.json", "this machine", "json", _threaded(_machine)),
        *_cluster_files(directory),
        Item("cluster/certificates.json", str(directory.path), "json", _threaded(partial(_certificates, directory))),
    ]
    for name in directory.node_names():
        items += _member_files(directory.node(name))
        items += _member_pages(directory, name, session)
    return Subject(directory.name, "local", items, tuple(_known_secrets(directory)))


def _cluster_files(directory: ClusterDirectory) -> Iterator[Item]:
    for path in (
        directory.resource,
        directory.manifest,
        directory.facts,
        directory.status,
        directory.observed,
    ):
        yield _file(path, f"cluster/{path.name}", "json")
    yield _file(directory.events, f"cluster/{directory.events.name}", "lines")
    for path in (directory.intent, directory.faults, directory.fault_report):
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
    yield Item(f"{root}/data.json", str(node.data), "json", _threaded(partial(_listing, node.data)))


def _member_pages(directory: ClusterDirectory, name: str, session: aiohttp.ClientSession) -> Iterator[Item]:
    resource = read_json(directory.resource)
    ports = node_ports(parse(resource, runtime=Runtime.LOCAL).spec.local, ordinal_key(name)[1])
    for page, file, shape in MEMBER_PAGES:
        url = f"http://{HOST}:{ports.metrics}/{page}"
        yield Item(f"members/{name}/{file}", url, shape, partial(fetch, session, url))


def _log(path: Path, root: str) -> Iterator[Item]:
    """Yield a log and the one before it, if there is one."""
    older = path.with_suffix(".log.1")
    for one in (older, path) if older.exists() else (path,):
        yield _file(one, f"{root}/{one.name}", "lines")


def _file(path: Path, name: str, shape: Shape) -> Item:
    return Item(name, str(path), shape, _threaded(partial(_end_of, path)))


def _threaded(read: Callable[[], bytes]) -> Callable[[], asyncio.Future[bytes]]:
    return lambda: asyncio.get_running_loop().run_in_executor(None, read)


def _end_of(path: Path) -> bytes:
    """Return the last LOG_BYTES_MAX bytes of a file, from the beginning of a line."""
    try:
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            file.seek(max(0, size - LOG_BYTES_MAX))
            content = file.read(LOG_BYTES_MAX)
    except FileNotFoundError as error:
        raise NotHad("there is no such file") from error
    return content if size <= LOG_BYTES_MAX else content.partition(b"\n")[2]


def _listing(folder: Path) -> bytes:
    """Return names and sizes of what is in a data directory, and how full its disk is; no content."""
    if not folder.is_dir():
        raise NotHad("there is no such folder")
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
    """Return who each certificate is for and how long it is valid; keys are not read."""
    folders = {"authority": directory.authority, "operator": directory.credentials}
    folders |= {name: directory.node(name).tls for name in directory.node_names()}
    found = {}
    for name, folder in folders.items():
        path = folder / (AUTHORITY_CERTIFICATE if name == "authority" else CERTIFICATE)
        found[name] = _certificate(path)
    return json.dumps(found).encode()


def _certificate(path: Path) -> dict[str, str]:
    try:
        certificate = x509.load_pem_x509_certificate(path.read_bytes())
    except (OSError, ValueError) as error:
        return {"problem": f"{type(error).__name__}: it cannot be read"}
    return {
        "subject": certificate.subject.rfc4514_string(),
        "issuer": certificate.issuer.rfc4514_string(),
        "not_before": certificate.not_valid_before_utc.isoformat(),
        "not_after": certificate.not_valid_after_utc.isoformat(),
    }


def _known_secrets(directory: ClusterDirectory) -> Iterator[str]:
    """Yield the lines of every private key of the cluster: none of them may be in the report."""
    tls = (directory.node(name).tls / KEY for name in directory.node_names())
    for path in (directory.authority / AUTHORITY_KEY, directory.credentials / KEY, *tls):
        if path.exists():
            yield from (line for line in path.read_text().splitlines() if not line.startswith("-----"))
