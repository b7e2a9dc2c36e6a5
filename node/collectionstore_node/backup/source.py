"""The cluster that is backed up, over HTTP: which members there are, and the streams that they serve."""

from __future__ import annotations

import http.client
import re
import socket
import ssl
import urllib.error
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple, TypeVar

import msgspec

from collectionstore_node.backup.errors import (
    BackupError,
    CredentialsRefused,
    InvalidUse,
    NotFound,
    Unreachable,
)
from collectionstore_node.backup.member_names import MemberHandler, MemberNames
from collectionstore_node.backup.selection import Cluster, Member
from collectionstore_node.storage.exported_state import ExportedState

SILENCE_S: Final = 15.0
"""A member that sends nothing for so long counts as not answering."""
STATUS_S: Final = 5.0
"""The same for its status, which it has in memory."""
JSON_BYTES_MAX: Final = 16 << 20

_NAMED: Final = re.compile(r"([A-Za-z0-9.-]+)=(.+)", re.DOTALL)
"""A member's name, and its URL."""

T = TypeVar("T")


class _Problem(msgspec.Struct, frozen=True):
    code: str = ""
    detail: str = ""


class LogPage(NamedTuple):
    """Committed entries, each behind its length; none of them if the time was over."""

    data: bytes
    last: int
    applied: int
    revision: int = 0
    """Of the store at `applied`; 0 of a member that does not tell."""


class Access(NamedTuple):
    """How the program shows the cluster who it is."""

    token_file: Path | None = None
    ca_file: Path | None = None
    cert_file: Path | None = None
    key_file: Path | None = None
    member_names: bool = False
    """Members are asked for and verified by the first label of their host."""

    def headers(self) -> dict[str, str]:
        """Return the headers of each request. Raises `InvalidUse` if the file cannot be read."""
        if self.token_file is None:
            return {}
        try:
            return {"Authorization": f"Bearer {self.token_file.read_text().strip()}"}
        except OSError as error:
            raise InvalidUse(f"--token-file {self.token_file}: {error.strerror}") from None

    def version(self) -> tuple[int, ...]:
        """Return when each of the files was written; it changes when one is replaced. Raises `InvalidUse`."""
        try:
            return tuple(one.stat().st_mtime_ns for one in self if isinstance(one, Path))
        except OSError as error:
            raise InvalidUse(f"{error.filename}: {error.strerror}") from None

    def tls(self) -> ssl.SSLContext | None:
        """Return how members are verified, None without TLS. Raises `InvalidUse`."""
        if self.ca_file is None:
            if self.member_names:
                raise InvalidUse("--member-names needs --ca-file: no other authority signs the name of a member alone")
            return None
        try:
            context = ssl.create_default_context(cafile=str(self.ca_file))
            if self.cert_file is not None:
                context.load_cert_chain(self.cert_file, self.key_file)
        except (OSError, ssl.SSLError) as error:
            raise InvalidUse(f"the certificates cannot be used: {error}") from None
        return context


class StateResponse:
    """A state that is being received: a `Source` of `SnapshotStream`."""

    def __init__(self, response: http.client.HTTPResponse, described: ExportedState, where: str) -> None:
        self.described = described
        self._response = response
        self._where = where

    def read(self, count: int, /) -> bytes:
        """Return `count` bytes, fewer only at the end. Raises `Unreachable` if the member ends it, or falls silent."""
        try:
            return self._response.read(count)
        except (http.client.HTTPException, OSError) as error:
            raise Unreachable(f"{self._where} ended the stream before its end: {_reason(error)}") from error

    def close(self) -> None:
        """Hang up; the member releases what it held open."""
        self._response.close()


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """Makes a redirection an error: the token would go wherever it leads."""

    def redirect_request(self, *_args: Any) -> None:
        return None


def _opener(access: Access, names: MemberNames) -> urllib.request.OpenerDirector:
    handlers: list[urllib.request.BaseHandler] = [urllib.request.ProxyHandler({}), _NoRedirects()]
    context = access.tls()
    if context is not None:
        handlers.append(MemberHandler(context, names))
    # Without the proxies of the environment: members are inside the cluster's own network.
    return urllib.request.build_opener(*handlers)


class Source:
    """The members of a cluster. Every call raises `Unreachable`, `CredentialsRefused` or `BackupError`."""

    def __init__(self, endpoints: Sequence[str], access: Access) -> None:
        """`endpoints` are the client URLs of some members; the others are found through them."""
        # Never a plain connection when there are files for TLS.
        scheme = "http" if access.ca_file is None and access.cert_file is None else "https"
        self._endpoints, self._names = list[str](), MemberNames(by_host=access.member_names)
        for one in endpoints:
            found = _NAMED.fullmatch(one)
            name, url = ("", one) if found is None else found.groups()
            self._endpoints.append(url if "://" in url else f"{scheme}://{url}")
            if name:
                if access.ca_file is None:
                    raise InvalidUse(
                        f"--endpoint {one} names a member, which needs --ca-file to verify it by that name"
                    )
                self._names.tell(self._endpoints[-1], name)
        self._scheme = self._endpoints[0].partition("://")[0]
        self._access = access
        self._version = access.version()
        self._headers, self._opener = access.headers(), _opener(access, self._names)

    def cluster(self) -> Cluster:
        """Return the cluster as its leader sees it, or as the first member does that answers, if there is none."""
        failures = []
        found: Cluster | None = None
        for endpoint in self._endpoints:
            try:
                found = self._json(f"{endpoint}/api/v1/cluster", Cluster)
                break
            except Unreachable as error:
                failures.append(str(error))
        if found is None:
            raise Unreachable(f"no member answers: {'; '.join(failures)}")
        self._learn(found)
        if found.leader is None or not found.leader.http_address:
            return found
        try:
            # Only the leader knows who is how far.
            return self._json(f"{self._url(found.leader.http_address)}/api/v1/cluster", Cluster)
        except Unreachable:
            return found

    def _learn(self, cluster: Cluster) -> None:
        """Ask for the members by the names that a verified one has told: an address has none of its own."""
        if self._access.member_names:
            for one in cluster.members:
                if one.name and one.http_address:
                    self._names.tell(self._url(one.http_address), one.name)

    def open_state(self, member: Member, *, stale: bool) -> StateResponse:
        """Begin to receive the state of a member; linearizable unless `stale`."""
        where = f"{member.name or member.node_id} at {member.http_address}"
        query = "?consistency=stale" if stale else ""
        response = self._open(f"{self._url(member.http_address)}/api/v1/backup/state{query}", where)
        try:
            described = msgspec.json.decode(response.headers.get("X-Exported-State", ""), type=ExportedState)
        except msgspec.DecodeError as error:
            raise BackupError(f"{where} does not say what it sends: {error}") from None
        return StateResponse(response, described, where)

    def log(self, member: Member, after: int, timeout_s: float) -> LogPage:
        """Return committed entries behind `after`; wait `timeout_s` for one. Raises `NotFound` if they are dropped."""
        where = f"{member.name or member.node_id} at {member.http_address}"
        url = f"{self._url(member.http_address)}/api/v1/backup/log?after={after}&timeout={timeout_s:.3f}s"
        response = self._open(url, where, timeout_s + STATUS_S)
        try:
            data = response.read()
        except (http.client.HTTPException, OSError) as error:
            raise Unreachable(f"{where} ended its answer early: {_reason(error)}") from error
        last, applied, revision = (
            _number(response.headers.get(name, ""), where) for name in ("X-Log-Last", "X-Log-Applied", "X-Revision")
        )
        return LogPage(data, last, applied, revision)

    def cluster_of(self, member: Member) -> str:
        """Return the ID of the cluster that a member is of now, by its own word."""
        return self._json(f"{self._url(member.http_address)}/api/v1/cluster", Cluster).cluster_id

    def _renew(self) -> None:
        """Read credentials again that were replaced: an archive runs for longer than a certificate lives."""
        version = self._access.version()
        if version != self._version:
            self._headers, self._opener = self._access.headers(), _opener(self._access, self._names)
            self._version = version

    def _url(self, address: str) -> str:
        return address.rstrip("/") if "://" in address else f"{self._scheme}://{address}"

    def _json(self, url: str, kind: type[T]) -> T:
        response = self._open(url, url, STATUS_S)
        try:
            return msgspec.json.decode(response.read(JSON_BYTES_MAX), type=kind)
        except (msgspec.DecodeError, http.client.HTTPException, OSError) as error:
            raise Unreachable(f"{url}: the answer cannot be read: {_reason(error)}") from error

    def _open(self, url: str, where: str, timeout_s: float = SILENCE_S) -> http.client.HTTPResponse:
        self._renew()
        request = urllib.request.Request(url, headers=self._headers)
        try:
            response: Any = self._opener.open(request, timeout=timeout_s)
        except urllib.error.HTTPError as error:
            raise _refused(error.code, error.read(64 << 10), where) from None
        except (urllib.error.URLError, http.client.HTTPException, OSError, ValueError) as error:
            raise Unreachable(f"{where} cannot be reached: {_reason(error)}") from error
        found: http.client.HTTPResponse = response
        return found


def _refused(status: int, body: bytes, where: str) -> BackupError:
    try:
        problem = msgspec.json.decode(body, type=_Problem)
    except msgspec.DecodeError:
        problem = _Problem()
    text = f"{where} answers {status} {problem.code}: {problem.detail}".rstrip(": ")
    if status in (401, 403):
        return CredentialsRefused(text)
    if status == 410:
        return NotFound(text)
    if status == 404:
        # During an upgrade: a member of the newer version can be read.
        return Unreachable(f"{text}. It runs a version without backups")
    if 300 <= status < 400:
        return Unreachable(f"{text}. No redirection is followed: give the URL of the member itself")
    return Unreachable(text) if status >= 500 else BackupError(text)


def _number(text: str, where: str) -> int:
    """Return a number of a header, 0 if it is missing. Raises `Unreachable` for what is none."""
    if not text:
        return 0
    if not text.isdecimal() or len(text) > 19:
        raise Unreachable(f"{where} answers {text[:64]!r} in place of a number")
    return int(text)


def _reason(error: BaseException) -> str:
    reason = getattr(error, "reason", None) or error
    if isinstance(reason, (TimeoutError, socket.timeout)):
        return "it does not answer"
    if isinstance(reason, http.client.IncompleteRead):
        return "the connection was cut"
    return str(reason) or type(reason).__name__
