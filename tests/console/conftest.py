"""A real cluster of three members, and a headless Chromium that looks at the console of its leader."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Iterator
from typing import Protocol

import pytest
from playwright.sync_api import Browser, expect

from collectionstore_testkit.browsers.console import DESKTOP, Console, Scheme, chromium_running, open_console
from collectionstore_testkit.browsers.member import Member
from collectionstore_testkit.clusters.local import PORT_STEP, LocalCluster, make_folder
from collectionstore_testkit.clusters.ports import free_base_port

NAME = "console"
MEMBERS = 3
EXPECT_TIMEOUT_MS = 20_000
"""For machines with much else to do."""

expect.set_options(timeout=EXPECT_TIMEOUT_MS)


class Opens(Protocol):
    """Opens one more console, which is checked and closed at the end of the test."""

    def __call__(self, *, size: tuple[int, int] = DESKTOP, scheme: Scheme = "light") -> Console: ...


@pytest.fixture(scope="module")
def cluster() -> Iterator[LocalCluster]:
    base_port = free_base_port(PORT_STEP * MEMBERS, within=range(20_000, 30_000))
    running = LocalCluster(make_folder(NAME), base_port, name=NAME)
    try:
        asyncio.run(running.start(MEMBERS))
        yield running
    finally:
        asyncio.run(running.stop(keep=False))
        shutil.rmtree(running.folder, ignore_errors=True)


@pytest.fixture(scope="module")
def member(cluster: LocalCluster) -> Member:
    """The leader: only it knows how far the others are."""
    return Member(cluster.url_of(Member(cluster.url(0)).leader()))


@pytest.fixture(scope="module")
def browser(cluster: LocalCluster) -> Iterator[Browser]:
    # After the cluster was started, and before it is stopped: both use a loop of this thread.
    with chromium_running() as running:
        yield running


@pytest.fixture
def opened(browser: Browser, member: Member) -> Iterator[Opens]:
    consoles: list[Console] = []

    def new(*, size: tuple[int, int] = DESKTOP, scheme: Scheme = "light") -> Console:
        consoles.append(open_console(browser, member.url, size=size, scheme=scheme))
        return consoles[-1]

    yield new
    for console in consoles:
        console.check()
        console.page.context.close()


@pytest.fixture
def console(opened: Opens) -> Console:
    return opened()
