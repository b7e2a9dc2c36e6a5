"""Every line of the process is one JSON object of the vocabulary, whoever speaks, and no exception quotes data."""

from __future__ import annotations

import asyncio
import io
import json
import logging
import threading
import warnings
from collections.abc import Callable
from typing import Any

import pytest
import structlog

from collectionstore_telemetry.logs import LogLevels, uncaught
from collectionstore_telemetry.logs.exceptions import LEFT_OUT, ExceptionFormatter
from collectionstore_telemetry.logs.vocabulary import EVENTS, FIELDS
from collectionstore_telemetry.tracing.active import ActiveSpan, active, carry

Lines = Callable[[], list[dict[str, Any]]]
SECRET = "hunter2"
TRACED = {"trace_id", "span_id"}
"""Only on lines of requests that are sampled."""


def raised(error: BaseException) -> BaseException:
    try:
        raise error
    except BaseException as caught:
        return caught


def test_a_line_has_what_every_line_has(lines: Lines) -> None:
    structlog.get_logger().info("node.stopping")
    (line,) = lines()
    assert line["event"] == "node.stopping"
    assert set(line) == {*FIELDS, "member"} - {"exception"} - TRACED
    assert line["member"] == "shop-0"


def test_libraries_and_warnings_speak_the_same_format(lines: Lines) -> None:
    logging.getLogger("aiohttp.server").error("it %s", "broke", exc_info=raised(OSError("no route")))
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.warn("this is old", DeprecationWarning, stacklevel=1)
    library, warning = lines()
    declared = next(event for event in EVENTS if event.name == "library.logged")
    assert (library["event"], library["logger"], library["text"]) == (declared.name, "aiohttp.server", "it broke")
    assert library["exception"][0]["exc_type"] == "OSError"
    assert set(library) == {*FIELDS, "member", *declared.fields} - TRACED
    assert (warning["logger"], warning["level"]) == ("py.warnings", "warning")
    assert "this is old" in warning["text"]


def test_every_line_of_a_sampled_span_has_its_ids(lines: Lines) -> None:
    """Lines of libraries too: the trace leads to all that was logged on its way."""
    token = active.set(ActiveSpan(carry(0x4BF92F3577B34DA6A3CE929D0E0E4736, 0xF067AA0BA902B7)))
    structlog.get_logger().info("node.stopping")
    logging.getLogger("aiohttp.access").warning("from outside")
    active.reset(token)
    structlog.get_logger().info("node.stopping")
    *traced, untraced = lines()
    ids = [(line["trace_id"], line["span_id"]) for line in traced]
    assert ids == [("4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7")] * 2
    assert not TRACED & set(untraced)


def test_quiet_loggers_write_warnings_only(stream: io.StringIO, configure: Callable[..., LogLevels]) -> None:
    """At every level of ours: what they log at info may hold secrets."""
    levels = configure("json", quiet_loggers=("talkative",))
    levels.change("debug", reason="SIGUSR1")
    logging.getLogger("talkative.objects").info("patching with %s", SECRET)
    logging.getLogger("talkative.objects").warning("the patch failed")
    events = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert [event.get("text", event["event"]) for event in events] == ["level.changed", "the patch failed"]


def test_console_is_for_people(stream: io.StringIO, configure: Callable[..., LogLevels]) -> None:
    configure("console")
    structlog.get_logger().error("node.failed", reason="a bug", exc_info=raised(KeyError(SECRET)))
    text = stream.getvalue()
    assert "node.failed" in text
    assert "test_log_format.py" in text
    assert not text.startswith("{")
    assert SECRET not in text


@pytest.mark.parametrize("kind", [KeyError, ValueError, IndexError])
def test_what_an_exception_quotes_is_left_out(lines: Lines, kind: type[Exception]) -> None:
    error = raised(kind(SECRET))
    structlog.get_logger().error("node.failed", reason="a bug", exc_info=error)
    (line,) = lines()
    (described,) = line["exception"]
    assert (described["exc_type"], described["exc_value"]) == (kind.__name__, LEFT_OUT)
    assert described["frames"][-1]["name"] == "raised"
    assert SECRET not in str(line)


def test_causes_follow_and_ours_keep_their_text() -> None:
    class OurError(ValueError):  # as a program's own, which words its text without the value
        pass

    OurError.__module__ = "collectionstore_node.errors"
    ours = OurError("two leaders")
    ours.__cause__ = raised(OSError(5, "I/O error"))
    outer, cause = ExceptionFormatter().describe(raised(ours))
    assert outer["exc_value"] == "two leaders"
    assert (cause["exc_type"], cause["exc_value"]) == ("OSError", "[Errno 5] I/O error")


def test_exceptions_of_quoting_packages_have_no_text() -> None:
    class ApiException(Exception):  # as a client's, which shows the server's answer
        pass

    ApiException.__module__ = "kubernetes.aio.client.exceptions"
    error = ApiException(f'HTTP response body: {{"data": "{SECRET}"}}')
    assert ExceptionFormatter(["kubernetes"]).text_of(error) == LEFT_OUT
    assert SECRET in ExceptionFormatter(["kube"]).text_of(error)


def test_groups_are_described_and_circles_end() -> None:
    first, second = OSError("one"), OSError("two")
    first.__cause__, second.__cause__ = second, first
    (group,) = ExceptionFormatter().describe(ExceptionGroup("both", [first]))
    assert [one["exc_value"] for one in group["exceptions"][0]] == ["one", "two"]


def test_uncaught_in_a_thread_is_a_line(lines: Lines) -> None:
    def fail() -> None:
        raise KeyError(SECRET)

    thread = threading.Thread(target=fail, name="sync_0")
    thread.start()
    thread.join()
    (line,) = lines()
    assert (line["event"], line["place"]) == ("exception.uncaught", "sync_0")
    assert SECRET not in str(line)


async def test_uncaught_in_the_event_loop_shows_no_arguments(lines: Lines) -> None:
    """The loop's own message would show what a callback was called with."""
    loop, handled = asyncio.get_running_loop(), asyncio.Event()
    before = loop.get_exception_handler()

    def handle(where: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        uncaught.in_loop(where, context)
        handled.set()

    loop.set_exception_handler(handle)

    def fail(_document: str) -> None:
        raise OSError("no space")

    try:
        loop.call_soon(fail, SECRET)
        await handled.wait()
    finally:
        loop.set_exception_handler(before)
    (line,) = lines()
    assert (line["event"], line["text"]) == ("callback.failed", "Exception in callback test")
    assert line["exception"][0]["exc_value"] == "no space"
    assert SECRET not in str(line)


def test_level_changes_while_it_runs(lines: Lines, levels: LogLevels) -> None:
    log = structlog.get_logger()
    log.debug("peer.left", peer="a")
    levels.change("debug", reason="SIGUSR1")
    log.debug("peer.left", peer="b")
    levels.change("error", reason="asked")
    log.warning("peer.rejected", peer="c")
    levels.change("info", reason="SIGUSR2")
    said = [(line["event"], line.get("peer", line.get("now"))) for line in lines()]
    assert said == [
        ("level.changed", "debug"),
        ("peer.left", "b"),
        ("level.changed", "error"),
        ("level.changed", "info"),
    ]


def test_libraries_never_speak_below_info(lines: Lines, levels: LogLevels) -> None:
    """Their debug lines hold what they send."""
    levels.change("debug", reason="SIGUSR1")
    logging.getLogger("aiohttp.client").debug("body: %s", SECRET)
    assert [line["event"] for line in lines()] == ["level.changed"]


async def test_a_level_for_some_time_goes_back(lines: Lines, levels: LogLevels) -> None:
    over = asyncio.Event()
    levels.change("debug", reason="asked", seconds=0.01)
    assert levels.reverts_in_s is not None
    # Timers of the loop run in the order of their times.
    asyncio.get_running_loop().call_later(0.02, over.set)
    await over.wait()
    assert levels.reverts_in_s is None
    assert [line["now"] for line in lines()] == ["debug", "info"]


async def test_a_later_change_ends_the_timer_of_an_earlier_one(levels: LogLevels) -> None:
    levels.change("debug", reason="asked", seconds=1000)
    levels.change("warning", reason="asked")
    assert (levels.current, levels.reverts_in_s) == ("warning", None)
