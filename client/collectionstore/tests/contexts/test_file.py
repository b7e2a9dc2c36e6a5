"""The file of contexts: who may read it, what is refused, and that no secret is ever shown."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from collectionstore.contexts import file
from collectionstore.contexts.file import Context, Contexts, ContextsInvalid, KubernetesCluster, without_credentials

SECRET = "hunter2-hunter2"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "deep" / "contexts.json"


def put(path: Path, name: str, context: Context) -> None:
    with file.change(path) as change:
        change.put(name, context)


def test_a_file_is_readable_by_its_owner_alone(path: Path) -> None:
    old = os.umask(0)
    try:
        put(path, "a", Context(url="http://127.0.0.1:7400", token=SECRET))
    finally:
        os.umask(old)
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
    assert file.read(path).current == "a"
    assert [one.name for one in path.parent.iterdir() if not one.name.endswith(".lock")] == ["contexts.json"]


def test_no_file_is_no_context(path: Path) -> None:
    assert file.read(path) == Contexts()


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o666])
def test_a_file_that_others_may_read_or_write_is_refused(path: Path, mode: int) -> None:
    put(path, "a", Context(url="http://127.0.0.1:7400"))
    path.chmod(mode)
    with pytest.raises(ContextsInvalid, match="chmod 600"):
        file.read(path)


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo", 0o600)
    for odd in (tmp_path / "fifo", tmp_path):
        with pytest.raises(ContextsInvalid, match="not a regular file"):
            file.read(odd)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b'{"contexts": {"a": {"token": ["hunter2-hunter2"]}}}',
        b'{"contexts": {"a": {"hunter2-hunter2": 1}}}',
        b'{"version": 2}',
        b'{"version": 1, "contexts": ' + b"[" * 100_000,
        b" " * (file.FILE_BYTES_MAX + 1),
        b"\xff\xfe",
    ],
)
def test_damaged_files_are_refused_without_showing_them(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "contexts.json"
    path.touch(0o600)
    path.write_bytes(content)
    with pytest.raises(ContextsInvalid) as refused:
        file.read(path)
    assert str(path) in str(refused.value)
    assert SECRET not in str(refused.value).replace("hunter2-hunter2`", "") or "unknown field" in str(refused.value)


def test_writers_lose_nothing(path: Path) -> None:
    def write(at: int) -> None:
        put(path, f"c{at}", Context(url=f"http://127.0.0.1:{7400 + at}"))

    threads = [threading.Thread(target=write, args=(at,)) for at in range(12)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert len(file.read(path).contexts) == 12


def test_an_error_in_the_middle_changes_nothing(path: Path) -> None:
    put(path, "a", Context(url="http://127.0.0.1:7400"))
    before = path.read_bytes()

    def fail() -> None:
        with file.change(path) as change:
            change.delete("a")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert path.read_bytes() == before


@pytest.mark.parametrize("name", ["", "-a", "a b", "a/b", "a" * 64, "a\n", "ä", "a\x1b[31m"])
def test_odd_names_are_refused(path: Path, name: str) -> None:
    with pytest.raises(ContextsInvalid, match="is no name"):
        put(path, name, Context(url="http://127.0.0.1:7400"))
    assert not path.exists()


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://ada:hunter2-hunter2@store:7400,other:7400/?token=hunter2-hunter2", "https://store:7400,other:7400"),
        ("collectionstore://h?token=hunter2-hunter2", "collectionstore://h"),
        ("http://a@b:hunter2-hunter2@c", "http://c"),
        ("ada:hunter2-hunter2@host", "host"),
        ("http://h#hunter2-hunter2", "http://h"),
        ("", ""),
    ],
)
def test_urls_are_shown_without_credentials(url: str, shown: str) -> None:
    assert without_credentials(url) == shown
    context = Context(url=url, token=SECRET, password=SECRET)
    assert SECRET not in repr(context) + context.place + context.proof


def test_places_are_told() -> None:
    assert Context(kubernetes=KubernetesCluster("demo", "shop")).place == "demo in namespace shop on Kubernetes"
