"""The subjects of the binding that lets members request certificates: one account for each cluster, no group."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from collectionstore_operator.kubernetes.api import Conflict, Kube
from collectionstore_operator.kubernetes.enrolment import READ_S, Enrolment
from collectionstore_operator.resource.desired import Desired
from collectionstore_operator.tests.kubernetes.fake_api_server import FakeApiServer
from collectionstore_operator.tests.kubernetes.test_client import Clock

BINDING = "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings/op:nodes"
DEMO = Desired(name="demo", namespace="shop", uid="u1")
OTHER = Desired(name="demo", namespace="office", uid="u2")
GROUP = {"kind": "Group", "name": "system:serviceaccounts"}


@pytest.fixture
async def server() -> AsyncIterator[FakeApiServer]:
    server = FakeApiServer()
    server.put(BINDING, {"metadata": {"name": "op:nodes"}})
    yield server
    await server.stop()


@pytest.fixture
async def kube(server: FakeApiServer) -> AsyncIterator[Kube]:
    async with await server.start() as client:
        yield Kube(client)


def subjects(server: FakeApiServer) -> list[dict[str, Any]]:
    return list(server.objects[BINDING].get("subjects") or ())


def account(namespace: str) -> dict[str, str]:
    return {"kind": "ServiceAccount", "name": "demo-node", "namespace": namespace}


async def test_accounts_are_added_and_removed_one_by_one(server: FakeApiServer, kube: Kube) -> None:
    enrolment = Enrolment(kube, "op:nodes")
    assert await enrolment.granted(DEMO) is False
    for desired in (DEMO, OTHER, DEMO):
        await enrolment.grant(desired)
    assert subjects(server) == [account("shop"), account("office")]
    assert await enrolment.granted(DEMO) is await enrolment.granted(OTHER) is True
    await enrolment.revoke(DEMO)
    await enrolment.revoke(DEMO)
    assert subjects(server) == [account("office")]
    assert (await enrolment.granted(DEMO), await enrolment.granted(OTHER)) == (False, True)


async def test_a_group_is_not_the_account(server: FakeApiServer, kube: Kube) -> None:
    server.objects[BINDING]["subjects"] = [GROUP]
    enrolment = Enrolment(kube, "op:nodes")
    assert await enrolment.granted(DEMO) is False
    await enrolment.grant(DEMO)
    assert subjects(server) == [GROUP, account("shop")]


async def test_what_was_added_meanwhile_is_not_lost(server: FakeApiServer, kube: Kube) -> None:
    enrolment = Enrolment(kube, "op:nodes")

    async def behave(request: Any) -> None:
        if request.method == "PATCH" and not subjects(server):
            server.put(BINDING, {"metadata": {"name": "op:nodes"}, "subjects": [account("office")]})

    server.behave = behave
    with pytest.raises(Conflict):
        await enrolment.grant(DEMO)
    await enrolment.grant(DEMO)
    assert subjects(server) == [account("office"), account("shop")]


async def test_all_loops_share_what_was_read(server: FakeApiServer, kube: Kube) -> None:
    clock = Clock()
    enrolment = Enrolment(kube, "op:nodes", clock=clock.time)
    for desired in (DEMO, OTHER) * 10:
        await enrolment.granted(desired)
    assert len(server.requests) == 1
    server.objects[BINDING]["subjects"] = [account("shop")]
    clock.now += READ_S
    assert await enrolment.granted(DEMO) is True


async def test_without_a_binding_nothing_is_asked(server: FakeApiServer, kube: Kube) -> None:
    enrolment = Enrolment(kube, "")
    assert await enrolment.granted(DEMO) is None
    await enrolment.grant(DEMO)
    await enrolment.revoke(DEMO)
    assert server.requests == []
