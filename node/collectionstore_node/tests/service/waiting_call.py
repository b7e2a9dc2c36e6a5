"""An operation in halves whose caller is a test."""

from __future__ import annotations

import asyncio
from time import perf_counter
from typing import Any

from collectionstore_node.access.callers import Caller
from collectionstore_node.service.operations import Ref, Write


class WaitingCall:
    """Implements `service.Pending`; `told` is set when a result is there."""

    target: Ref | Write

    def __init__(self, key: str | None = None) -> None:
        self.key = key
        self.caller: Caller | None = None
        self.began = perf_counter()
        self.entered = 0.0
        self.result: Any = None
        self.error: BaseException | None = None
        self.again = False
        self.task: asyncio.Task[Any] | None = None
        self.told = asyncio.Event()

    def done(self) -> bool:
        return self.told.is_set()

    def set_result(self, result: Any) -> None:
        assert not self.done()
        self.result = result
        self.told.set()

    def set_exception(self, exception: BaseException) -> None:
        assert not self.done()
        self.error = exception
        self.told.set()

    def wait_again(self) -> None:
        self.error = None
        self.again = True
        self.told.clear()
