"""The layers of simulation that can be soaked: modules with `run(seed) -> Report`, imported when they are wanted."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, cast

from collectionstore_node.tests.soak.report import Report


@dataclass(frozen=True, slots=True)
class Layer:
    """Where a layer is, and what it consists of."""

    module: str
    about: str

    def load(self) -> Callable[[int], Report]:
        """Return what runs one of its seeds. Raises `ModuleNotFoundError` where the layer is not there."""
        return cast(Callable[[int], Report], importlib.import_module(self.module).run)


LAYERS: Final[Mapping[int, Layer]] = {
    1: Layer("collectionstore_node.tests.raft.seeds", "Raft cores; simulated disks, network and clocks"),
    2: Layer(
        "collectionstore_node.tests.simulation.seeds", "whole nodes on one event loop; clients, checked histories"
    ),
}
