"""Entries that may cost little: the bound that a large entry would reach, reached by a small one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from collectionstore_node.replica.persistence import applier
from collectionstore_node.statemachine import apply, index_commands


@contextmanager
def small_entries(cost: int | None) -> Iterator[None]:
    """Let an entry cost `cost`, on every member; None: as much as in the program. Builds take two documents a step."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(index_commands, "BUILD_DOCUMENTS", 2)
        if cost is not None:
            patch.setattr(apply, "ENTRY_COST_MAX", cost)
            patch.setattr(applier, "ENTRY_COST_MAX", cost)
        yield
