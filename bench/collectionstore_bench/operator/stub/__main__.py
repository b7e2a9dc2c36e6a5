"""Run the stub until it is ended: python -m collectionstore_bench.operator.stub URL AUTHORITY, the token on stdin."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import uvloop

from collectionstore_bench.operator.api import Access, connect
from collectionstore_bench.operator.stub.kubelet import Kubelet


async def run(access: Access) -> None:
    """Run until cancelled."""
    async with connect(access) as api:
        await Kubelet(api).run()


if __name__ == "__main__":
    url, authority = sys.argv[1:]
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(run(Access(url, Path(authority), sys.stdin.readline().strip())))
