"""The bounds of a port, and how descriptors are shared."""

from __future__ import annotations

import pytest

from collectionstore_node.ports import LOOPBACK, Admission, PortLimits, divide, network_of
from collectionstore_node.ports.admission import Slot
from collectionstore_node.ports.descriptors import LIMIT_MIN, LIMIT_WANTED


class FakeOccupant:
    def __init__(self, idle_since: float | None) -> None:
        self.since = idle_since
        self.evicted = False

    def idle_since(self) -> float | None:
        return self.since

    def evict(self) -> None:
        self.evicted = True


def test_a_full_port_closes_who_was_idle_longest() -> None:
    port = Admission(PortLimits(3, 3))
    occupants = [FakeOccupant(2.0), FakeOccupant(1.0), FakeOccupant(None)]
    slots = [port.admit("192.0.2.1", one) for one in occupants]

    assert isinstance(port.admit("192.0.2.2", FakeOccupant(3.0)), Slot)

    assert [one.evicted for one in occupants] == [False, True, False]
    assert port.connections == 3
    evicted = slots[1]
    assert isinstance(evicted, Slot)
    port.release(evicted)  # its end comes later, and is counted once
    assert port.connections == 3


def test_a_port_that_is_full_of_work_refuses() -> None:
    port = Admission(PortLimits(2, 2))
    slot = port.admit("192.0.2.1", FakeOccupant(None))
    port.admit("192.0.2.2", FakeOccupant(None))
    assert port.admit("192.0.2.3", FakeOccupant(0.0)) == "full"
    assert isinstance(slot, Slot)
    port.release(slot)
    assert isinstance(port.admit("192.0.2.3", FakeOccupant(0.0)), Slot)


def test_an_address_at_its_bound_pays_itself() -> None:
    port = Admission(PortLimits(10, 2))
    neighbour, own = FakeOccupant(0.0), FakeOccupant(5.0)
    port.admit("192.0.2.1", neighbour)
    port.admit("192.0.2.2", own)
    port.admit("192.0.2.2", FakeOccupant(None))

    assert isinstance(port.admit("192.0.2.2", FakeOccupant(None)), Slot)
    assert port.admit("192.0.2.2", FakeOccupant(None)) == "address_full"
    assert (own.evicted, neighbour.evicted) == (True, False)


def test_loopback_has_no_bound_of_its_own() -> None:
    port = Admission(PortLimits(5, 1))
    for _ in range(5):
        assert isinstance(port.admit(LOOPBACK, FakeOccupant(None)), Slot)
    assert port.admit(LOOPBACK, FakeOccupant(None)) == "full"


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("127.0.0.1", LOOPBACK),
        ("::1", LOOPBACK),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("", ""),
    ],
)
def test_a_host_cannot_multiply_by_its_addresses(address: str, network: str) -> None:
    assert network_of(address) == network


@pytest.mark.parametrize("limit", [LIMIT_MIN, 512, 1_024, 4_096, LIMIT_WANTED, -1])
def test_shares_fit_into_the_limit(limit: int) -> None:
    shares = divide(limit, clients_wanted=4_096)
    total = shares.table_files_max + shares.peers_max + shares.metrics_max + shares.clients_max
    assert total < (LIMIT_WANTED if limit == -1 else limit)
    assert min(shares.table_files_max, shares.clients_max) >= 16


def test_clients_get_what_storage_and_peers_leave() -> None:
    assert divide(1_024, clients_wanted=4_096).clients_max == 1_024 - 256 - 128 - 64 - 96
    assert divide(65_536, clients_wanted=4_096).clients_max == 4_096
    with pytest.raises(ValueError, match="at least 256"):
        divide(128, clients_wanted=4_096)
