"""Tests of the account: which stage a stack belongs to, and what a stage costs."""

from __future__ import annotations

from importlib.util import find_spec

import pytest

from collectionstore_bench.account.samples import Sample, make_account, parse_frame, parse_samples
from collectionstore_bench.account.stages import (
    MEANINGS,
    NODE,
    ROOTS,
    RULES,
    TRANSPARENT,
    Frame,
    Stage,
    room_of,
    stage_of,
    waits,
)
from collectionstore_bench.processes import ThreadTime

ROOT = Frame("_run", f"{NODE}.__main__")
TASK = Frame("task_step", "/build/Modules/_asynciomodule.c")
C_CALL = Frame("EVP_EncryptUpdate", "/usr/lib/libcrypto.so.3")


def ours(module: str, function: str = "some") -> Frame:
    return Frame(function, f"{NODE}.{module}")


@pytest.mark.parametrize("room", sorted({rule.room for rule in RULES} | set(TRANSPARENT) | set(ROOTS)))
def test_rooms_of_the_rules_exist(room: str) -> None:
    """A renamed room would silently count as `other`, or for its caller."""
    assert find_spec(room) is not None


def test_every_stage_is_explained() -> None:
    assert set(MEANINGS) == set(Stage)


@pytest.mark.parametrize(
    ("stack", "stage"),
    [
        ((ROOT, ours("api.connections.connection", "Connection.data_received"), C_CALL), Stage.PARSE),
        ((ROOT, ours("api.connections.connection", "Connection.start")), Stage.ROUTE),
        ((ROOT, ours("api.http.dispatcher")), Stage.ROUTE),
        ((ROOT, ours("api.http.dispatcher"), ours("api.handlers.documents", "put")), Stage.COMMAND),
        ((ROOT, ours("api.handlers.documents"), ours("api.handlers.write_answers")), Stage.ANSWER),
        ((ROOT, ours("service.store"), ours("statemachine.commands", "encode_command")), Stage.ENCODE),
        ((ROOT, ours("replica.persistence.log_writer", "append"), ours("storage.rocksdb.rocks")), Stage.APPEND),
        ((ROOT, ours("replica.persistence.log_writer", "LogWriter._sync_marker")), Stage.SYNC),
        ((ROOT, ours("transport.connection.connection", "Connection.write"), C_CALL), Stage.FRAME),
        ((ROOT, ours("transport.connection.connection", "Connection._read_all")), Stage.RECEIVE),
        ((ROOT, ours("raft.validation")), Stage.VALIDATE),
        ((ROOT, ours("raft.leader")), Stage.COMMIT),
        ((ROOT, ours("replica.persistence.applier"), ours("storage.state_store")), Stage.APPLY),
        ((ROOT, ours("statemachine.view"), ours("storage.rocksdb.family")), Stage.APPLY),
        ((ROOT, ours("statemachine.reads"), ours("storage.state_store")), Stage.READ),
        ((ROOT, Frame("observe", "collectionstore_telemetry.metrics.recorders")), Stage.OBSERVE),
        ((ROOT, TASK), Stage.LOOP),
        ((ROOT, Frame("feed_data", "/aiohttp/_websocket/reader_c.c")), Stage.RECEIVE),
        ((ROOT, ours("security.enrolment")), Stage.OTHER),
        ((Frame("main", "/a/library.so"),), Stage.OTHER),
    ],
)  # fmt: skip
def test_stage_is_that_of_the_innermost_room(stack: tuple[Frame, ...], stage: Stage) -> None:
    assert stage_of(stack) is stage


def test_other_is_named_by_its_room() -> None:
    assert room_of((ROOT, ours("security.enrolment"), C_CALL)) == f"{NODE}.security.enrolment"
    assert room_of((ROOT, C_CALL)) == "EVP_EncryptUpdate (libcrypto.so.3)"


def test_waiting_is_no_work() -> None:
    futex = Frame("0x7f9b42ca3f16", "/usr/lib/libc.so.6")
    assert waits((ROOT, Frame("epoll_pwait", "/usr/lib/libc.so.6")))
    assert waits((ROOT, Frame("PyThread_acquire_lock_timed", "/lib/libpython3.11.so.1.0"), futex))
    assert waits((ROOT, ours("storage.rocksdb.rocks", "Rocks.sync_wal"), Frame("fdatasync", "/usr/lib/libc.so.6")))
    assert not waits((ROOT, Frame("write", "/usr/lib/libc.so.6")))
    assert not waits((ROOT, ours("replica.consensus.wakeup", "Wakeup.wait")))


def test_samples_of_the_profiler_are_read() -> None:
    text = (
        "thread (7): MainThread;main (/x/node/collectionstore_node/raft/__init__.py:3);put (a b) (/lib/y.so:12) 4\n"
        "thread (8): sync_0;<module> (<frozen runpy>:88) 1\n"
    )
    first, second = parse_samples(text)
    assert (first.thread, first.count) == (7, 4)
    assert list(first.stack) == [Frame("main", f"{NODE}.raft"), Frame("put (a b)", "/lib/y.so")]
    assert (second.thread, list(second.stack)) == (8, [Frame("<module>", "<frozen runpy>")])
    assert parse_frame("bare") == Frame("bare", "")
    with pytest.raises(ValueError, match="not a sample"):
        parse_samples("main (file.py:1) 4")


def test_threads_count_for_the_time_that_the_kernel_accounts() -> None:
    """A sampler sees a waiting thread as often as a busy one."""
    wait = Frame("epoll_pwait", "/usr/lib/libc.so.6")
    samples = [
        Sample(1, (ROOT, ours("raft.leader")), 3),
        Sample(1, (ROOT, ours("security.enrolment")), 1),
        Sample(1, (ROOT, wait), 50),
        Sample(2, (Frame("_worker", "/python/concurrent/futures/thread.py"), wait), 60),
    ]
    threads = {1: ThreadTime("node", 4.0), 2: ThreadTime("sync_0", 1.0), 3: ThreadTime("rocksdb:low", 0.5)}
    account = make_account(samples, threads, requests=1_000_000)
    assert account.stages == {Stage.COMMIT: 3.0, Stage.OTHER: 1.0, Stage.SYNC: 1.0, Stage.BACKGROUND: 0.5}
    assert account.unmapped == {f"{NODE}.security.enrolment": 1.0}
    assert account.total_us == 5.5
    assert account.samples == 4
