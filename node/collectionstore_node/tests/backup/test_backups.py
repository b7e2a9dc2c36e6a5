"""Backups of a cluster into a directory and into S3: made, listed, verified, deleted; and what goes wrong."""

from __future__ import annotations

import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import msgspec
import pytest

from collectionstore_node.backup.create import create_backup
from collectionstore_node.backup.errors import (
    BackupError,
    Corrupt,
    CredentialsRefused,
    InvalidUse,
    NotFound,
    Refused,
    StoreFull,
    Unreachable,
)
from collectionstore_node.backup.manifest import Manifest, encode_manifest
from collectionstore_node.backup.options import open_repository
from collectionstore_node.backup.repository import Repository
from collectionstore_node.backup.source import Access, Source
from collectionstore_node.backup.stored import delete_backup, folder, list_backups, look, manifest_name
from collectionstore_node.backup.verify import verify_backup
from collectionstore_node.tests.backup.conftest import KEY, PART_BYTES, QUIET, S3
from collectionstore_node.tests.backup.sample import FakeCluster, FakeMember, SampleState
from collectionstore_node.tests.transport.doubles import Authority

Make = Callable[..., Manifest]


def run(cluster: FakeCluster, repository: Repository, **options: object) -> Manifest:
    given = {
        "key": None,
        "expected_cluster": None,
        "stale": False,
        "progress": QUIET,
        "part_bytes": PART_BYTES,
    } | options
    source = Source([one.address for one in cluster.members], Access())
    return create_backup(source, repository, **given)  # type: ignore[arg-type]


def one(member: FakeMember) -> FakeCluster:
    """Return a cluster of one member."""
    return FakeCluster([member])


def nothing(_bytes: int) -> None:
    pass


class Pruning(Repository):
    """Loses the first part of a backup when its manifest is stored, as another run that prunes at that moment."""

    def put(self, name: str, data: bytes) -> None:
        if name.endswith("manifest.json"):
            self.delete(name.replace("manifest.json", "data/00000000.part"))
        super().put(name, data)


def test_a_backup_that_is_pruned_while_it_is_made_is_no_success(tmp_path: Path, make: Make) -> None:
    repository = Pruning(str(tmp_path / "repository"))

    with pytest.raises(Corrupt, match="are gone since they were stored"):
        make(repository)

    assert list_backups(repository) == []


@pytest.mark.parametrize("key", [None, KEY], ids=["plain", "encrypted"])
def test_a_backup_is_of_a_follower_and_verifies(
    repository: Repository, make: Make, state: SampleState, key: bytes | None
) -> None:
    made = make(repository, key)

    assert (made.member, made.from_leader, made.cluster_id) == ("n1", False, "old")
    assert (made.revision, made.records) == (state.header.revision, len(state.records))
    assert made.state_digest == state.header.digest.hex()
    assert made.stream_bytes == len(state.stream())
    assert len(made.parts) > 2
    assert verify_backup(repository, made.id, key, nothing) == made
    (listed,) = list_backups(repository)
    assert (listed.id, listed.manifest) == (made.id, made)
    assert look(repository, listed).intact


def test_documents_are_not_readable_in_an_encrypted_backup(directory: Repository, make: Make, tmp_path: Path) -> None:
    make(directory, KEY)

    stored = b"".join(path.read_bytes() for path in (tmp_path / "repository").rglob("*.part"))
    assert b"books" not in stored
    assert KEY.hex().encode() not in b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())


@pytest.mark.parametrize(("given", "message"), [(None, "give it with --key-file"), (b"x" * 32, "is not the one")])
def test_an_encrypted_backup_needs_its_key(directory: Repository, make: Make, given: bytes, message: str) -> None:
    made = make(directory, KEY)

    with pytest.raises(CredentialsRefused, match=message):
        verify_backup(directory, made.id, given, nothing)


def test_a_deleted_backup_is_gone(repository: Repository, make: Make) -> None:
    first, second = make(repository), make(repository)

    assert delete_backup(repository, first.id) == 1 + len(first.parts)
    assert [one.id for one in list_backups(repository)] == [second.id]
    assert list(repository.objects(folder(first.id))) == []


def test_an_empty_repository_lists_nothing(repository: Repository) -> None:
    assert list_backups(repository) == []


# The cluster


def test_the_leader_is_read_only_if_no_follower_can_be(directory: Repository, state: SampleState) -> None:
    followers = [FakeMember("n1", state, fault=(503, "overloaded")), FakeMember("n2", state, fault=(503, "no_leader"))]
    leader = FakeMember("n0", state, leader=True)
    with FakeCluster([leader, *followers]) as cluster:
        made = run(cluster, directory)

    assert (made.member, made.from_leader) == ("n0", True)
    assert all("/api/v1/backup/state" in one.asked for one in followers)


def test_the_nearest_follower_is_read(directory: Repository, state: SampleState) -> None:
    members = [FakeMember("n0", state, leader=True), FakeMember("n1", state, lag=9), FakeMember("n2", state, lag=1)]
    with FakeCluster(members) as cluster:
        assert run(cluster, directory).member == "n2"
    assert "/api/v1/backup/state" not in members[0].asked


@pytest.mark.parametrize("share", [0.0, 0.001, 0.3, 0.9, 0.9999])
def test_a_stream_that_is_cut_leaves_nothing(directory: Repository, state: SampleState, share: float) -> None:
    cut = int(len(state.stream()) * share)
    with (
        FakeCluster([FakeMember("n0", state, leader=True, cut_at=cut)]) as cluster,
        pytest.raises((Unreachable, Corrupt)),
    ):
        run(cluster, directory)
    assert list_backups(directory) == []


def test_a_stream_with_any_wrong_byte_leaves_nothing(directory: Repository, state: SampleState) -> None:
    size = len(state.stream())
    for at in (0, 9, 40, size // 2, size - 40, size - 1):
        with (
            FakeCluster([FakeMember("n0", state, leader=True, flip_at=at)]) as cluster,
            pytest.raises(Corrupt, match="sent by n0 is corrupt"),
        ):
            run(cluster, directory)
    assert list_backups(directory) == []


@pytest.mark.parametrize(("field", "value"), [("revision", 1), ("state_digest", "00" * 32), ("index", 1), ("term", 9)])
def test_a_member_that_announces_another_state_is_not_believed(
    directory: Repository, state: SampleState, field: str, value: object
) -> None:
    with (
        FakeCluster([FakeMember("n0", state, leader=True, change={field: value})]) as cluster,
        pytest.raises(Corrupt, match="announced"),
    ):
        run(cluster, directory)
    assert list_backups(directory) == []


def test_the_cluster_must_be_the_expected_one(directory: Repository, state: SampleState) -> None:
    with FakeCluster([FakeMember("n0", state, leader=True)]) as cluster:
        with pytest.raises(Refused, match="the cluster is 'old', not 'shop'"):
            run(cluster, directory, expected_cluster="shop")
        assert "/api/v1/backup/state" not in cluster.members[0].asked


def test_credentials_that_the_cluster_refuses_are_not_tried_on_others(
    directory: Repository, state: SampleState
) -> None:
    members = [FakeMember("n0", state, leader=True), FakeMember("n1", state)]
    with FakeCluster(members, token="right") as cluster:
        with pytest.raises(CredentialsRefused, match="401 unauthorized"):
            run(cluster, directory)
        assert members[0].asked.count("/api/v1/backup/state") == 0


def test_the_token_is_sent(directory: Repository, state: SampleState, tmp_path: Path) -> None:
    (tmp_path / "token").write_text("right\n")
    with FakeCluster([FakeMember("n0", state, leader=True)], token="right") as cluster:
        source = Source([cluster.members[0].address], Access(token_file=tmp_path / "token"))
        create_backup(source, directory, key=None, expected_cluster=None, stale=False, progress=QUIET)


def test_a_cluster_that_does_not_answer_is_named(directory: Repository) -> None:
    with pytest.raises(Unreachable, match=r"no member answers: http://127\.0\.0\.1:1/"):
        create_backup(
            Source(["127.0.0.1:1"], Access()), directory, key=None, expected_cluster=None, stale=False, progress=QUIET
        )


def test_a_member_of_a_version_with_backups_is_read_during_an_upgrade(
    directory: Repository, state: SampleState
) -> None:
    old = FakeMember("n1", state, fault=(404, "unknown_route"))
    with FakeCluster([FakeMember("n0", state, leader=True), old, FakeMember("n2", state, lag=5)]) as cluster:
        assert run(cluster, directory).member == "n2"


def test_a_version_without_backups_is_named(directory: Repository, state: SampleState) -> None:
    with (
        FakeCluster([FakeMember("n0", state, leader=True, fault=(404, "unknown_route"))]) as cluster,
        pytest.raises(Unreachable, match="a version without backups"),
    ):
        run(cluster, directory)


# The repository


def test_wrong_credentials_of_a_repository_are_named() -> None:
    """moto checks no signatures; a store that does answers 403, as this one does."""

    class Handler(BaseHTTPRequestHandler):
        def do_PUT(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(403)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_args: object) -> None:
            """Log nothing."""

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        repository = Repository("s3://backups/x", S3 | {"endpoint": f"http://127.0.0.1:{server.server_address[1]}"})
        with pytest.raises(CredentialsRefused, match="refuses the credentials") as caught:
            repository.put("a", b"1")
        assert "secret" not in str(caught.value)
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_a_bucket_that_does_not_exist_is_named(s3_endpoint: str) -> None:
    repository = Repository("s3://missing-bucket/x", S3 | {"endpoint": s3_endpoint})
    with pytest.raises(Refused, match="bucket does not exist"):
        repository.put("a", b"1")


def test_a_directory_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InvalidUse, match="cannot be opened"):
        Repository(str(tmp_path / "file" / "below"))


@pytest.mark.parametrize("url", ["http://host/x", "memory:///", "ftp://x/y", "s3:/x"])
def test_other_urls_are_refused(url: str) -> None:
    with pytest.raises(InvalidUse):
        Repository(url)


@pytest.mark.parametrize(
    "url",
    [
        "s3://user:hidden@bucket/path",
        "s3://user:hid/den@bucket/path",
        "s3://hidden@bucket",
        "az://container?sig=hidden",
        "gs://bucket/path#hidden",
        "s3:user:hidden@bucket",
        "https://user:hid/den@host/path",
    ],
)
def test_a_url_with_credentials_is_refused_and_not_shown(url: str) -> None:
    with pytest.raises(InvalidUse) as caught:
        Repository(url)
    assert not any(part in str(caught.value) for part in ("user:", "hid", "den@"))


@pytest.mark.parametrize(
    "option",
    [
        "secret_access_key=hidden",
        "aws_session_token=hidden",
        "AWS_SECRET_ACCESS_KEY=hidden",
        "account_key=hidden",
        "access_key=hidden",
        "azure_storage_sas_key=hidden",
        "client_secret=hidden",
        "google_service_account_key=hidden",
        "aws_sse_customer_key_base64=hidden",
        "endpoint=https://user:hidden@host",
    ],
)
def test_a_secret_as_an_argument_is_refused_and_not_shown(option: str) -> None:
    with pytest.raises(InvalidUse, match="environment") as caught:
        open_repository("s3://bucket", (option,))
    assert "hidden" not in str(caught.value)


def test_settings_that_are_no_secrets_are_taken() -> None:
    open_repository(
        "s3://bucket/a@b",
        ("region=eu-west-1", "endpoint=https://minio:9000", "web_identity_token_file=/token"),
    )


def test_the_token_follows_no_redirection(directory: Repository, state: SampleState, tmp_path: Path) -> None:
    (tmp_path / "token").write_text("hidden")
    target = FakeMember("n1", state)
    with FakeCluster([FakeMember("n0", state, leader=True), target]) as cluster:
        cluster.members[0].redirect_to = target.address
        source = Source([cluster.members[0].address], Access(tmp_path / "token"))
        with pytest.raises(Unreachable, match="No redirection is followed"):
            source.cluster()
    assert target.asked == []


def test_files_for_tls_never_lead_to_a_plain_connection(state: SampleState, tmp_path: Path) -> None:
    """An endpoint without a scheme is https then."""
    with one(FakeMember("n0", state, leader=True)) as cluster:
        member = cluster.members[0]
        ca = Authority().issue(tmp_path / "tls", "operator", member=False).ca
        source = Source([member.address.removeprefix("http://")], Access(ca_file=ca))
        with pytest.raises(Unreachable, match="https://127"):
            source.cluster()
        assert Source([member.address.removeprefix("http://")], Access()).cluster().cluster_id == "old"


def test_an_unknown_option_is_refused_without_showing_its_value() -> None:
    with pytest.raises(InvalidUse, match="unknown option") as caught:
        Repository("s3://bucket/x", {"bogus": "hunter2"})
    assert "hunter2" not in str(caught.value)


class FailingRepository(Repository):
    """Fails the `fails_at`-th call that changes or reads an object, and with `dead` all calls after it."""

    def __init__(self, url: str, fails_at: int, error: BaseException, *, dead: bool) -> None:
        super().__init__(url)
        self._left = fails_at
        self._error = error
        self._dead = dead
        self._lock = threading.Lock()

    def _count(self) -> None:
        with self._lock:
            self._left -= 1
            if self._left == 0 or (self._dead and self._left < 0):
                raise self._error

    def put(self, name: str, data: bytes) -> None:
        self._count()
        super().put(name, data)

    def get(self, name: str, bytes_max: int) -> bytes:
        self._count()
        return super().get(name, bytes_max)

    def delete(self, name: str) -> None:
        self._count()
        super().delete(name)


class Killed(BaseException):
    """The process ends here."""


def test_a_full_repository_at_any_call_leaves_nothing(tmp_path: Path, make: Make) -> None:
    calls = 0
    while True:
        calls += 1
        repository = FailingRepository(str(tmp_path / "repository"), calls, StoreFull("it is full"), dead=False)
        try:
            made = make(repository)
        except StoreFull:
            assert list_backups(Repository(repository.url)) == []
            continue
        break
    assert calls == 2 * len(made.parts) + 2 + 1


def test_a_run_that_is_killed_at_any_call_leaves_nothing_that_looks_complete(tmp_path: Path, make: Make) -> None:
    """Not even its own clean-up runs. What is left has no manifest, or is complete and verifies."""
    calls = 0
    while True:
        calls += 1
        root = tmp_path / f"repository-{calls}"
        try:
            make(FailingRepository(str(root), calls, Killed(), dead=True))
        except Killed:
            for one in list_backups(Repository(str(root))):
                assert not one.problem
                if one.manifest is not None:
                    verify_backup(Repository(str(root)), one.id, None, nothing)
            continue
        break
    assert calls > 10


def test_a_deletion_that_is_killed_leaves_nothing_that_looks_complete(directory: Repository, make: Make) -> None:
    made = make(directory)
    for calls in range(2, 6):
        failing = FailingRepository(directory.url, calls, Killed(), dead=True)
        with pytest.raises(Killed):
            delete_backup(failing, made.id)
        (left,) = list_backups(directory)
        assert left.manifest is None
        assert not look(directory, left).complete


def test_a_store_that_loses_what_it_took_is_found_out(tmp_path: Path, make: Make) -> None:
    class Forgetful(Repository):
        def put(self, name: str, data: bytes) -> None:
            super().put(name, data[:-1] if name.endswith("00000001.part") else data)

    with pytest.raises(Corrupt, match=r"00000001\.part is not what was written"):
        make(Forgetful(str(tmp_path / "repository")))
    assert list_backups(Repository(str(tmp_path / "repository"))) == []


# Damage


def _damage(root: Path, made: Manifest) -> list[tuple[str, Callable[[], object]]]:
    """Return what may happen to a stored backup, by name."""
    parts = sorted(root.rglob("*.part"))
    manifest = root / manifest_name(made.id)

    def flip(path: Path, at: int) -> None:
        data = bytearray(path.read_bytes())
        data[at] ^= 0x10
        path.write_bytes(data)

    def swap() -> None:
        one, other = parts[0].read_bytes(), parts[1].read_bytes()
        parts[0].write_bytes(other)
        parts[1].write_bytes(one)

    cases: list[tuple[str, Callable[[], object]]] = [
        (f"byte {at} of {path.name}", lambda path=path, at=at: flip(path, at))  # type: ignore[misc]
        for path in (*parts, manifest)
        for at in (0, 1, 5, path.stat().st_size // 2, path.stat().st_size - 1)
    ]
    cases += [
        ("a part is missing", parts[1].unlink),
        ("a part is empty", lambda: parts[1].write_bytes(b"")),
        ("a part is cut", lambda: parts[2].write_bytes(parts[2].read_bytes()[:-1])),
        ("a part is longer", lambda: parts[2].write_bytes(parts[2].read_bytes() + b"\0")),
        ("two parts are swapped", swap),
        ("the manifest is empty", lambda: manifest.write_bytes(b"")),
        ("the manifest is cut", lambda: manifest.write_bytes(manifest.read_bytes()[:-1])),
        ("the manifest is longer", lambda: manifest.write_bytes(manifest.read_bytes() + b"\n")),
    ]
    return cases


def _is_corrupt(repository: Repository, made: Manifest, key: bytes | None) -> bool:
    try:
        verify_backup(repository, made.id, key, nothing)
    except Corrupt:
        return True
    return False


@pytest.mark.parametrize("key", [None, KEY], ids=["plain", "encrypted"])
def test_any_damage_is_found(directory: Repository, make: Make, tmp_path: Path, key: bytes | None) -> None:
    made = make(directory, key)
    root = tmp_path / "repository"
    whole = {path: path.read_bytes() for path in root.rglob("*") if path.is_file()}
    for name, damage in _damage(root, made):
        damage()
        assert _is_corrupt(directory, made, key), name
        for path, data in whole.items():
            path.write_bytes(data)
    verify_backup(directory, made.id, key, nothing)


def test_a_backup_with_a_missing_part_is_not_intact(directory: Repository, make: Make, tmp_path: Path) -> None:
    made = make(directory)
    sorted((tmp_path / "repository").rglob("*.part"))[-1].unlink()

    found = look(directory, list_backups(directory)[0])
    assert (found.id, found.complete, found.intact) == (made.id, True, False)


def test_a_damaged_manifest_is_listed_with_its_problem(directory: Repository, make: Make, tmp_path: Path) -> None:
    made = make(directory)
    path = tmp_path / "repository" / manifest_name(made.id)
    path.write_bytes(path.read_bytes().replace(b'"revision"', b'"revisiom"'))

    (listed,) = list_backups(directory)
    assert listed.manifest is None
    assert "does not match its hash" in listed.problem
    found = look(directory, listed)
    assert (found.complete, found.intact) == (True, False)


def test_a_manifest_that_lies_about_the_state_is_found(directory: Repository, make: Make) -> None:
    """Without a key a manifest can be forged; the digest of the state is in the state itself."""
    made = make(directory)
    for field, value in (("revision", made.revision + 1), ("records", 1), ("state_digest", "00" * 32)):
        forged = msgspec.structs.replace(made, **{field: value})
        directory.put(manifest_name(made.id), encode_manifest(forged, None))
        with pytest.raises(Corrupt, match="by the manifest"):
            verify_backup(directory, made.id, None, nothing)


def test_a_backup_that_is_not_there_is_not_found(directory: Repository) -> None:
    with pytest.raises(NotFound):
        verify_backup(directory, "20260101T000000Z-00000000", None, nothing)


def test_errors_have_different_exit_codes() -> None:
    kinds = (BackupError, InvalidUse, NotFound, Refused, Corrupt, CredentialsRefused, Unreachable)
    assert len({kind.exit_code for kind in kinds}) == len(kinds)
