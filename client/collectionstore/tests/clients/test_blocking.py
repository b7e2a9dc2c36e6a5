"""The blocking client: generated and current, used by threads, closed, forked, and in its own thread."""

from __future__ import annotations

import asyncio
import importlib.util
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from collectionstore import AsyncClient, CallEvent, Client
from collectionstore.errors import ClientClosed, InvalidOperation, LockHeld, WrongEventLoop
from collectionstore.testing import RunningStore, running_memory_store

GENERATOR = Path(__file__).parents[3] / "generate_sync.py"


@pytest.fixture(scope="module")
def store() -> Iterator[RunningStore]:
    with running_memory_store() as running:
        yield running


@pytest.fixture
def client(store: RunningStore) -> Iterator[Client]:
    with Client(store.url) as made:
        yield made


def test_it_is_generated_from_the_other_and_current() -> None:
    spec = importlib.util.spec_from_file_location("generate_sync", GENERATOR)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert module.stale(module.generate()) == []


def test_a_tour(client: Client, store: RunningStore) -> None:
    books = client.create_collection("tour")
    books.insert_many([{"_id": f"{n}", "n": n} for n in range(5)])
    assert [one["n"] for one in books.find().sort("n", -1)] == [4, 3, 2, 1, 0]
    assert books.find_one_and_update({"n": 1}, {"$inc": {"n": 10}}, return_document="after") == {"_id": "1", "n": 11}
    with books.watch(start=0) as watch:
        assert next(iter(watch)).operation == "create_collection"
    with client.transaction() as tx:
        inside = tx.collection("tour")
        document = inside.find_one("2")
        assert document is not None
        inside.put("2", {"n": 20})
    assert books.find_one("2") == {"_id": "2", "n": 20}

    def add(tx: Any) -> int:
        inside = tx.collection("tour")
        inside.put("3", {"n": inside.find_one("3")["n"] + 1})
        return threading.get_ident()

    # The callback runs in the thread of its caller.
    assert client.with_transaction(add) == threading.get_ident()
    with client.lock("tour", ttl=30) as lock:
        assert lock.held
        with pytest.raises(LockHeld):
            client.lock("tour").acquire()
    assert len(list(books.export_lines())) == 5
    bucket = client.bucket("tour")
    bucket.put("k", "v")
    assert [one.key for one in bucket.keys()] == ["k"]  # noqa: SIM118
    with client.session() as session:
        books.put("s", {}, ttl=5)
        assert session.revision == store.revision
    store.advance(6)
    assert books.get("s") is None


def test_threads_share_a_client(client: Client) -> None:
    books = client.create_collection("threads")
    failures: list[BaseException] = []

    def work(number: int) -> None:
        try:
            for n in range(20):
                books.put(f"{number}-{n}", {"n": n})
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert books.count_documents() == 160


def test_a_closed_client_says_so(store: RunningStore) -> None:
    client = Client(store.url)
    client.list_collection_names()
    client.close()
    client.close()
    with pytest.raises(ClientClosed):
        client.list_collection_names()
    unused = Client(store.url)
    unused.close()


def test_no_thread_is_left(store: RunningStore) -> None:
    before = threading.active_count()
    with Client(store.url) as client:
        client.list_collection_names()
        assert threading.active_count() > before
    assert threading.active_count() == before


def test_a_fork_is_refused_and_ends(store: RunningStore) -> None:
    client = Client(store.url)
    client.list_collection_names()
    child = os.fork()
    if child == 0:
        code = 1
        try:
            client.list_collection_names()
        except WrongEventLoop:
            code = 0
        finally:
            os._exit(code)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    client.list_collection_names()
    client.close()


def test_a_hook_that_calls_the_client_does_not_hang(store: RunningStore) -> None:
    class Calls:
        client: Client
        caught: BaseException | None = None

        def traceparent(self) -> str | None:
            return None

        def ended(self, event: CallEvent) -> None:
            try:
                self.client.list_collection_names()
            except InvalidOperation as error:
                self.caught = error

    hooks = Calls()
    with Client(store.url, hooks=hooks) as client:
        hooks.client = client
        client.list_collection_names()
    assert isinstance(hooks.caught, InvalidOperation)


def test_an_async_client_belongs_to_one_loop(store: RunningStore) -> None:
    client = AsyncClient(store.url)
    with asyncio.Runner() as first:
        first.run(client.list_collection_names())
        with asyncio.Runner() as second, pytest.raises(WrongEventLoop):
            second.run(client.list_collection_names())
        first.run(client.close())
