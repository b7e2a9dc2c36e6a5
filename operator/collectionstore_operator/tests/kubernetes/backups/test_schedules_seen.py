"""The schedules of a cluster as its own loop sees them."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from aiohttp import web

from collectionstore_operator.kubernetes.schedules import KEPT_S, Schedules
from collectionstore_operator.resource.desired import Desired
from collectionstore_operator.tests.kubernetes.backups.world import World, a_world
from collectionstore_operator.tests.kubernetes.fake_api_server import status

DEMO = Desired(name="demo", namespace="shop")


@pytest.fixture
async def world() -> AsyncIterator[World]:
    async with a_world() as made:
        yield made


async def test_schedules_of_this_cluster_are_read_once_a_minute(world: World) -> None:
    world.schedule("daily")
    world.schedule("other", clusterName="another")
    await world.run_schedule("daily")
    now = 0.0
    seen = Schedules(world.kube, clock=lambda: now)
    world.server.requests.clear()
    found = await seen.read(DEMO)
    assert found is not None
    assert [(one.name, one.fresh, one.reason) for one in found] == [("daily", "Unknown", "NoBackupYet")]
    assert await seen.read(DEMO) == found
    assert len(world.server.requests) == 1
    now = KEPT_S + 1
    await seen.read(DEMO)
    assert len(world.server.requests) == 2


@pytest.mark.parametrize(("code", "expected"), [(404, ()), (403, None)])
async def test_what_cannot_be_read_is_not_absent(world: World, code: int, expected: object) -> None:
    async def refuse(_request: web.Request) -> web.Response:
        return status(code, "NotFound" if code == 404 else "Forbidden")

    world.server.behave = refuse
    assert await Schedules(world.kube).read(DEMO) == expected
