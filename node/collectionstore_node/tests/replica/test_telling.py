"""What answers clients runs at the end of the step that told the results, and not a turn of the loop later."""

from __future__ import annotations

import asyncio
from contextvars import ContextVar
from typing import Any

import pytest

from collectionstore_node.replica.consensus.telling import Telling


async def test_callbacks_run_in_order_at_the_end_of_the_context() -> None:
    telling = Telling()
    ran: list[str] = []

    with telling:
        telling.soon(lambda: ran.append("first"))
        telling.soon(lambda: ran.append("second"))
        assert ran == []

    assert ran == ["first", "second"]


async def test_outside_of_the_context_a_callback_runs_in_the_next_turn() -> None:
    telling = Telling()
    ran: list[str] = []

    telling.soon(lambda: ran.append("told"))

    assert ran == []
    await asyncio.sleep(0)
    assert ran == ["told"]


async def test_what_a_callback_asks_for_runs_in_the_next_turn() -> None:
    """A request that is begun and refused within a callback does not answer within it."""
    telling = Telling()
    ran: list[str] = []

    with telling:
        telling.soon(lambda: telling.soon(lambda: ran.append("later")))

    assert ran == []
    await asyncio.sleep(0)
    assert ran == ["later"]


async def test_an_error_of_the_driver_leaves_the_callbacks_to_the_next_turn() -> None:
    """Clients whose result was told are answered, although the driver ends with the error."""
    telling = Telling()
    ran: list[str] = []

    def fail() -> None:
        with telling:
            telling.soon(lambda: ran.append("told"))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert ran == []
    await asyncio.sleep(0)
    assert ran == ["told"]


async def test_a_second_context_runs_only_its_own_callbacks() -> None:
    telling = Telling()
    ran: list[int] = []

    for number in range(2):
        with telling:
            telling.soon(lambda number=number: ran.append(number))  # type: ignore[misc]  # bound now

    assert ran == [0, 1]


async def test_a_callback_that_fails_ends_neither_the_others_nor_the_driver() -> None:
    telling = Telling()
    ran: list[str] = []
    reported: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, report: reported.append(report))

    with telling:
        telling.soon(lambda: ran.append(str(1 // 0)))
        telling.soon(lambda: ran.append("second"))

    assert ran == ["second"]
    assert [type(report["exception"]) for report in reported] == [ZeroDivisionError]


async def test_what_a_callback_sets_in_its_context_is_not_seen_by_the_driver() -> None:
    telling, request = Telling(), ContextVar("request", default="none")

    with telling:
        telling.soon(lambda: request.set("a"))  # type: ignore[arg-type]  # what it returns is not used

    assert request.get() == "none"
