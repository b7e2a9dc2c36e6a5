"""Ports in use are found, with the process that holds each."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from collectionstore_local.processes.port_allocation import HOST, NodePorts, node_ports, port_holders, taken_ports
from collectionstore_operator.resource.desired import Desired


@pytest.fixture
def listener() -> Iterator[int]:
    with socket.socket() as server:
        server.bind((HOST, 0))
        server.listen()
        yield server.getsockname()[1]


def free_port() -> int:
    with socket.socket() as server:
        server.bind((HOST, 0))
        return int(server.getsockname()[1])


def test_each_node_has_three_ports_a_step_apart() -> None:
    """Node 2 of the default cluster listens on 7420, 7421 and 7422."""
    assert node_ports(Desired(name="demo"), 2) == NodePorts(client=7420, peer=7421, metrics=7422)


def test_taken_port_is_found(listener: int) -> None:
    """Only ports in use are reported."""
    assert taken_ports((free_port(), listener)) == (listener,)


def test_holder_of_a_port_is_named_by_pid_and_command(listener: int) -> None:
    """The user sees which process to stop."""
    (holder,) = port_holders((listener,))
    assert holder.pid == os.getpid()
    own = Path(f"/proc/{os.getpid()}/cmdline").read_bytes().split(b"\0")
    assert holder.command == b" ".join(own[:-1]).decode()


def test_port_that_was_let_go_meanwhile_has_a_holder_without_pid() -> None:
    """The holder may end between the check of the port and the search for it."""
    (holder,) = port_holders((free_port(),))
    assert holder.pid is None
