"""The Lease of a cluster: one operator acts on it at a time, each with a higher epoch than the one before."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from collectionstore_operator.errors import ActionRefused, HeldElsewhere
from collectionstore_operator.kubernetes.api import Kube
from collectionstore_operator.kubernetes.api.lease_object import EPOCH
from collectionstore_operator.kubernetes.api.tenure import DEADLINE_S, LEASE_S, RENEW_S, Tenure
from collectionstore_operator.resource.desired import Desired
from collectionstore_operator.tests.kubernetes.fake_api_server import FakeApiServer
from collectionstore_operator.tests.kubernetes.test_client import Clock

DESIRED = Desired(name="demo", namespace="shop", uid="u1")
PATH = "/apis/coordination.k8s.io/v1/namespaces/shop/leases/demo-operator"


class Installations:
    """Several installations of the operator on one API server, with one clock."""

    def __init__(self, server: FakeApiServer, kube: Kube) -> None:
        self.server = server
        self.kube = kube
        self.clock = Clock()
        self.leads = True

    def tenure(self, holder: str) -> Tenure:
        return Tenure(
            self.kube,
            holder=holder,
            leads=lambda: self.leads,
            clock=self.clock.time,
            wall=lambda: 1_800_000_000.0 + self.clock.now,
        )

    def epoch(self) -> str:
        """Return the epoch as stored."""
        return str(self.server.objects[PATH]["metadata"]["annotations"][EPOCH])

    def writes(self) -> int:
        """Return the number of writes so far."""
        return sum(method != "GET" for method, _ in self.server.requests)


@pytest.fixture
async def world() -> AsyncIterator[Installations]:
    server, clock = FakeApiServer(), Clock()
    async with await server.start() as client:
        yield Installations(server, Kube(client, clock=clock.time, sleep=clock.sleep))
    await server.stop()


async def test_first_operator_takes_the_lease_and_it_goes_with_the_resource(world: Installations) -> None:
    tenure = world.tenure("a/op")
    assert not tenure.holds
    assert await tenure.hold(DESIRED) == ""
    assert tenure.holds
    assert tenure.epoch == 1
    stored = world.server.objects[PATH]
    assert stored["spec"]["holderIdentity"] == "a/op"
    assert stored["metadata"]["ownerReferences"][0]["uid"] == "u1"


async def test_second_operator_does_nothing_until_the_first_is_silent_for_the_whole_duration(
    world: Installations,
) -> None:
    first, second = world.tenure("a/op"), world.tenure("b/op")
    await first.hold(DESIRED)
    for _ in range(5):
        with pytest.raises(HeldElsewhere, match="a/op holds"):
            await second.hold(DESIRED)
        assert not second.holds
        world.clock.now += RENEW_S
        await first.hold(DESIRED)
    with pytest.raises(HeldElsewhere):
        await second.hold(DESIRED)
    world.clock.now += LEASE_S - 1
    with pytest.raises(HeldElsewhere):
        await second.hold(DESIRED)
    world.clock.now += 1
    assert not first.holds, "it must have stopped before another may take over"
    assert await second.hold(DESIRED) == "a/op"
    assert second.holds
    assert second.epoch == first.epoch + 1 == int(world.epoch())
    with pytest.raises(HeldElsewhere, match="b/op holds"):
        await first.hold(DESIRED)
    assert first.epoch == 0


async def test_holder_stops_before_others_may_take_over(world: Installations) -> None:
    assert DEADLINE_S < LEASE_S
    tenure = world.tenure("a/op")
    await tenure.hold(DESIRED)
    world.clock.now += DEADLINE_S
    assert not tenure.holds
    with pytest.raises(ActionRefused):
        await tenure.confirm(DESIRED)
    assert await tenure.hold(DESIRED) == ""
    assert tenure.holds
    assert tenure.epoch == 1, "nobody else had it: no new epoch"


async def test_lease_is_renewed_only_when_it_has_aged(world: Installations) -> None:
    tenure = world.tenure("a/op")
    await tenure.hold(DESIRED)
    writes = world.writes()
    for _ in range(3):
        await tenure.hold(DESIRED)
    assert world.writes() == writes
    world.clock.now += RENEW_S
    await tenure.hold(DESIRED)
    assert world.writes() == writes + 1


async def test_next_process_of_an_installation_takes_over_at_once_with_a_higher_epoch(world: Installations) -> None:
    """The Lease of the installation has excluded the earlier process, which finds itself replaced."""
    first, second = world.tenure("a/op"), world.tenure("a/op")
    await first.hold(DESIRED)
    assert await second.hold(DESIRED) == ""
    assert second.epoch == 2
    with pytest.raises(ActionRefused, match="is not held any more"):
        await first.confirm(DESIRED)
    with pytest.raises(ActionRefused):
        await first.advance(9, DESIRED)
    await second.confirm(DESIRED)


async def test_process_that_lost_the_lease_of_its_installation_takes_none(world: Installations) -> None:
    tenure = world.tenure("a/op")
    await tenure.hold(DESIRED)
    world.leads = False
    assert not tenure.holds
    with pytest.raises(HeldElsewhere):
        await tenure.hold(DESIRED)
    assert world.epoch() == "1"


async def test_of_two_that_take_a_free_lease_one_is_refused(world: Installations) -> None:
    """Both have read the same version."""
    first, second = world.tenure("a/op"), world.tenure("b/op")
    await first.hold(DESIRED)
    world.server.objects[PATH]["spec"]["holderIdentity"] = ""
    read, real = dict(world.server.objects[PATH]), world.kube.find

    async def late(*_: object) -> dict[str, object]:
        return read

    world.kube.find = late  # type: ignore[method-assign, assignment]
    await first.hold(DESIRED)
    with pytest.raises(HeldElsewhere, match="just now"):
        await second.hold(DESIRED)
    world.kube.find = real  # type: ignore[method-assign]
    assert first.holds
    assert not second.holds


async def test_epoch_rises_while_the_lease_is_held(world: Installations) -> None:
    """To one above what a node has seen, stored before it is used; never down."""
    tenure = world.tenure("a/op")
    await tenure.hold(DESIRED)
    await tenure.advance(1_790_000_001, DESIRED)
    assert tenure.epoch == int(world.epoch()) == 1_790_000_001
    await tenure.advance(5, DESIRED)
    assert tenure.epoch == 1_790_000_001
    assert await tenure.hold(DESIRED) == ""
    successor = world.tenure("a/op")
    await successor.hold(DESIRED)
    assert successor.epoch == 1_790_000_002


async def test_lease_of_an_earlier_resource_is_taken_along(world: Installations) -> None:
    """It would go with the resource that owned it; its epoch stays."""
    await world.tenure("a/op").hold(DESIRED)
    again = Desired(name="demo", namespace="shop", uid="u2")
    tenure = world.tenure("a/op")
    await tenure.hold(again)
    assert world.server.objects[PATH]["metadata"]["ownerReferences"][0]["uid"] == "u2"
    assert tenure.epoch == 2
