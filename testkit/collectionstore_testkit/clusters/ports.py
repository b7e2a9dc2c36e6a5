"""Free ports for clusters that tests start side by side."""

from __future__ import annotations

import random
import socket

_ATTEMPTS = 100


def free_base_port(count: int, *, within: range) -> int:
    """Return the first of `count` consecutive ports of loopback that are free now, with the first one in `within`.

    Drawn at random, because concurrent tests search too. Choose `within` below the kernel's ephemeral ports.
    """
    for _ in range(_ATTEMPTS):
        base = random.choice(within)
        sockets = [socket.socket() for _ in range(count)]
        try:
            for offset, one in enumerate(sockets):
                one.bind(("127.0.0.1", base + offset))
        except OSError:
            continue
        finally:
            for one in sockets:
                one.close()
        return base
    raise AssertionError(f"no {count} free ports in a row found in {_ATTEMPTS} attempts")
