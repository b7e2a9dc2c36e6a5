"""A store that is slow, cuts, sends garbage or pages without an end: told within a bound, never taken for a success."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from collectionstore_node.backup import repository as repositories
from collectionstore_node.backup.archive import Patience
from collectionstore_node.backup.create import Progress, create_backup
from collectionstore_node.backup.errors import BackupError, Corrupt, StoreUnreachable
from collectionstore_node.backup.pruning import Rules, prune_repository
from collectionstore_node.backup.repository import Repository
from collectionstore_node.backup.source import Access, Source
from collectionstore_node.backup.stored import is_complete, list_backups
from collectionstore_node.backup.stored_log import last_segment
from collectionstore_node.tests.backup.conftest import S3
from collectionstore_node.tests.backup.sample import FakeCluster, FakeMember, SampleState

_QUIET = Progress(lambda _text: None, lambda _bytes: None)
_MODIFIED = {"ETag": '"x"', "Last-Modified": "Thu, 01 Jan 2026 00:00:00 GMT"}


class Request(BaseHTTPRequestHandler):
    """One request to the store; how it is answered is a function."""

    protocol_version = "HTTP/1.1"
    server: Store

    def _answer(self) -> None:
        self.body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.server.asked.append((self.command, self.path, self.headers.get("Authorization", "")))
        try:
            self.server.behave(self)
        except OSError:
            self.close_connection = True  # the client has gone

    do_GET = do_PUT = do_DELETE = do_POST = do_HEAD = _answer

    def send(self, status: int, body: bytes, *, length: int | None = None, **headers: str) -> None:
        """Send an answer, which may announce another length than it has."""
        self.send_response(status)
        for name, value in (_MODIFIED | headers).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body) if length is None else length))
        self.end_headers()
        self.wfile.write(body)
        self.close_connection = length is not None

    def log_message(self, *_args: object) -> None:
        """Log nothing."""


class Store(ThreadingHTTPServer):
    """The store."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Request)
        self.behave: Callable[[Request], None] = lambda one: one.send(500, b"")
        self.asked: list[tuple[str, str, str]] = []
        self.ended = threading.Event()


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    for name, value in (("REQUEST_S", 1), ("RETRIES", 1), ("RETRY_S", 2), ("FOLDERS_S", 2)):
        monkeypatch.setattr(repositories, name, value)
    server = Store()
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    yield server
    server.ended.set()
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def repository(store: Store) -> Repository:
    return Repository("s3://bucket/path", S3 | {"endpoint": f"http://127.0.0.1:{store.server_port}"})


def trickle(one: Request) -> None:
    """A byte now and then: no read of it ever times out."""
    one.send(200, b"", length=1_000_000)
    while not one.server.ended.wait(0.1):
        one.wfile.write(b"x")


def silent(one: Request) -> None:
    one.server.ended.wait()


def cut(one: Request) -> None:
    one.send(200, b"half", length=100)


READS: dict[str, Callable[[Repository], object]] = {
    "get": lambda one: one.get("x", 1 << 20),
    "objects": lambda one: list(one.objects("x/")),
    "folders": lambda one: one.folders("x/"),
    "delete": lambda one: one.delete("x"),
}


@pytest.mark.parametrize("use", READS.values(), ids=READS)
@pytest.mark.parametrize("behave", [trickle, silent, cut], ids=lambda one: one.__name__)
def test_a_store_that_does_not_end_its_answer_is_unreachable(
    store: Store, repository: Repository, behave: Callable[[Request], None], use: Callable[[Repository], object]
) -> None:
    """So an archive waits for it, and a Job tries again. It is cut by the time of the whole request."""
    store.behave = behave
    with pytest.raises(StoreUnreachable):
        use(repository)


@pytest.mark.parametrize("use", [READS[name] for name in ("objects", "folders", "delete")])
@pytest.mark.parametrize("body", [b"", b"<not xml \xff\xfe", b"{}"])
def test_garbage_is_no_listing_and_no_deletion(
    store: Store, repository: Repository, body: bytes, use: Callable[[Repository], object]
) -> None:
    store.behave = lambda one: one.send(200, body)
    with pytest.raises(BackupError):
        use(repository)


def test_a_page_of_a_portal_that_looks_like_an_empty_listing_deletes_nothing(
    store: Store, repository: Repository
) -> None:
    """The library takes any XML for a listing, here for an empty one. What has a manifest stays all the same."""
    store.behave = lambda one: one.send(200, b"<html>a portal</html>")
    pruned = prune_repository(repository, Rules(1, 0, 3_600), datetime.now(UTC), dry_run=False)
    assert (pruned.backups.delete, pruned.backups.leftovers, pruned.segments) == ([], [], 0)
    assert is_complete(repository, "20260102T030405Z-0123abcd")
    assert {method for method, _, _ in store.asked} == {"GET"}


def test_an_object_that_is_larger_than_allowed_is_not_read(store: Store, repository: Repository) -> None:
    """Not even if it says so only: no memory is taken for it."""
    store.behave = lambda one: one.send(200, b"x" * 2_000)
    with pytest.raises(BackupError, match="2000 bytes; at most 1000"):
        repository.get("x", 1_000)


def test_a_redirection_gets_no_credentials_and_no_data(store: Store, repository: Repository) -> None:
    """A write is not repeated elsewhere; a read is, without the credentials, and what comes is verified as always."""
    elsewhere = Store()
    thread = threading.Thread(target=elsewhere.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    elsewhere.behave = lambda one: one.send(200, b"something")
    place = f"http://localhost:{elsewhere.server_port}/x"
    store.behave = lambda one: one.send(307, b"", Location=place)
    with pytest.raises(BackupError):
        repository.put("x", b"a secret part")
    assert elsewhere.asked == []
    repository.get("x", 1_000)
    elsewhere.shutdown()
    elsewhere.server_close()
    thread.join()
    assert store.asked[-1][2].startswith("AWS4-HMAC-SHA256")
    assert [authorization for _, _, authorization in elsewhere.asked] == [""]


def endless(one: Request) -> None:
    """Pages of 1,000 names, each of which says that there are more."""
    page = len(one.server.asked)
    if "delimiter" in one.path:
        found = "".join(
            f"<CommonPrefixes><Prefix>path/backups/{page:09}-{n:03}/</Prefix></CommonPrefixes>" for n in range(1_000)
        )
    else:
        found = "".join(
            f"<Contents><Key>path/log/c/{page * 1_000 + n:020}-{page * 1_000 + n:020}.segment</Key>"
            "<LastModified>2026-01-01T00:00:00.000Z</LastModified><ETag>x</ETag><Size>1</Size></Contents>"
            for n in range(1_000)
        )
    token = f"<IsTruncated>true</IsTruncated><NextContinuationToken>t{page}</NextContinuationToken>"
    one.send(200, f"<ListBucketResult>{token}{found}</ListBucketResult>".encode())


def test_a_listing_without_an_end_is_given_up(
    store: Store, repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(repositories, "OBJECTS_MAX", 20_000)
    store.behave = endless
    with pytest.raises(BackupError, match="more than 20000 objects"):
        last_segment(repository, "c", [5])
    with pytest.raises(StoreUnreachable, match="did not end within 2 s"):
        list_backups(repository)


def test_an_archive_waits_for_a_store_whose_answers_are_cut(store: Store, repository: Repository) -> None:
    """Check: it is an outage, and ends when the bound of waiting is reached."""
    store.behave = cut
    told: list[str] = []
    with pytest.raises(StoreUnreachable):
        Patience(1.0, told.append, lambda _s: None).keep(lambda: last_segment(repository, "c", [5]))
    assert len(told) == 2
    assert all("trying again" in one for one in told)


@pytest.mark.parametrize("changed", ["lost", "altered", "shortened"])
def test_a_store_that_does_not_keep_what_it_acknowledged_makes_no_backup(
    store: Store, repository: Repository, state: SampleState, changed: str
) -> None:
    """Every write is answered with success. Check: the read-back finds out, and no manifest is written."""
    kept: dict[str, bytes] = {}

    def forget(one: Request) -> None:
        if one.command == "PUT":
            kept[one.path] = one.body
            one.send(200, b"")
        elif one.command == "GET" and "list-type" not in one.path and changed != "lost":
            found = kept.get(one.path, b"")
            one.send(200, found[:-1] if changed == "shortened" else b"\0" + found[1:])
        elif one.command == "GET" and "list-type" in one.path:
            one.send(200, b"<ListBucketResult><IsTruncated>false</IsTruncated></ListBucketResult>")
        elif one.command == "POST":
            one.send(200, b"<DeleteResult></DeleteResult>")
        else:
            one.send(404, b"<Error><Code>NoSuchKey</Code></Error>")

    store.behave = forget
    with FakeCluster([FakeMember("n0", state, leader=True)]) as cluster, pytest.raises(BackupError) as failed:
        create_backup(
            Source([cluster.members[0].address], Access()),
            repository,
            key=None,
            expected_cluster=None,
            stale=False,
            progress=_QUIET,
        )
    assert changed == "lost" or isinstance(failed.value, Corrupt)
    assert not [path for path in kept if path.endswith("manifest.json")]
