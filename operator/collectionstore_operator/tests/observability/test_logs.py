"""What the operator, kopf and everybody else in the process says is one format, and holds no Secret."""

from __future__ import annotations

import io
import json
import logging
import sys
import threading
from collections.abc import Iterator
from typing import Any

import pytest
import structlog

from collectionstore_operator.observability import logs
from collectionstore_operator.observability.logs.vocabulary import EVENTS
from collectionstore_telemetry.logs import LogLevels
from collectionstore_telemetry.logs.exceptions import LEFT_OUT, ExceptionFormatter
from collectionstore_telemetry.logs.vocabulary import EVENTS as SHARED

SECRET = "hunter2-correct-horse"


class Output:
    """What was written, and the level that decides about it."""

    def __init__(self) -> None:
        self.stream = io.StringIO()
        self.levels = LogLevels()

    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.stream.getvalue().splitlines()]


@pytest.fixture
def output() -> Iterator[Output]:
    """Logging as a process sets it up; loggers are not kept, and everything is as it was afterwards."""
    kept, root, made = structlog.get_config(), logging.getLogger(), Output()
    before = {name: logging.getLogger(name).level for name in ("", "collectionstore", "kopf", "kubernetes")}
    handlers, hooks = root.handlers[:], (sys.excepthook, threading.excepthook, sys.unraisablehook)
    made.levels = logs.configure(output=made.stream, format_="auto")
    structlog.configure(cache_logger_on_first_use=False)
    yield made
    structlog.configure(**kept)
    root.handlers[:] = handlers
    for name, level in before.items():
        logging.getLogger(name).setLevel(level)
    logging.captureWarnings(capture=False)
    sys.excepthook, threading.excepthook, sys.unraisablehook = hooks


def test_kopf_speaks_our_format(output: Output) -> None:
    logging.getLogger("kopf.objects").warning("Daemon %r failed", "tend", extra={"k8s_skip": True})
    structlog.get_logger().info("lease.released", name="operator")
    kopf, ours = output.lines()
    assert (kopf["event"], kopf["logger"], kopf["text"]) == (
        "library.logged",
        "kopf.objects",
        "Daemon 'tend' failed",
    )
    assert (ours["event"], ours["level"]) == ("lease.released", "info")
    assert {"library.logged", "lease.released"} <= {event.name for event in (*SHARED, *EVENTS)}


def test_libraries_that_see_secrets_stay_quiet_at_every_level(output: Output) -> None:
    """Kopf shows patches and differences, the client of the API server bodies."""
    output.levels.change("debug", reason="SIGUSR1")
    for name in ("kopf.objects", "kubernetes.aio.client.rest", "kubernetes.client.rest", "aiohttp.client"):
        logging.getLogger(name).debug("body: %s", SECRET)
    for name in ("kopf.objects", "kubernetes.aio.client.rest"):
        logging.getLogger(name).info("patching with %s", SECRET)
    structlog.get_logger().debug("lease.released", name="ours")
    assert [line["event"] for line in output.lines()] == ["level.changed", "lease.released"]


def test_answers_of_the_api_server_are_not_quoted() -> None:
    class ApiException(Exception):  # as the client's, which shows the body
        pass

    ApiException.__module__ = "kubernetes.aio.client.exceptions"
    formatter = ExceptionFormatter(logs.QUOTING_PACKAGES)
    (described,) = formatter.describe(ApiException(f'HTTP response body: {{"data": "{SECRET}"}}'))
    assert described["exc_value"] == LEFT_OUT
    (quoting,) = formatter.describe(KeyError(SECRET))
    assert SECRET not in str(quoting)


def test_the_configured_level_comes_back(output: Output) -> None:
    output.levels.change("debug", reason="SIGUSR1")
    output.levels.change(output.levels.configured, reason="SIGUSR2")
    structlog.get_logger().debug("lease.released", name="x")
    assert [line["now"] for line in output.lines()] == ["debug", "info"]
    assert output.levels.current == "info"
