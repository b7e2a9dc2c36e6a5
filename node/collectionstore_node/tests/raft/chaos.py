"""One seed, one run: a cluster under every fault that the algorithm must survive, then a phase in which it must live.

What may happen is in `life`, `administration` and the modules of faults; `budget` says how much of it. Each seed turns
off a random part of the faults, and calms the rest, so that some runs go deep where others go wide. The same seed gives
the same run, in every process: `trace` is a hash of all that happened.
"""

from __future__ import annotations

from collections.abc import Iterable
from random import Random
from typing import Final

from collectionstore_node.raft.messages import Index
from collectionstore_node.tests.raft import administration, disk_faults, life, network_faults, process_faults
from collectionstore_node.tests.raft.calm import live_on
from collectionstore_node.tests.raft.recovery import recover
from collectionstore_node.tests.raft.world import Action, World
from collectionstore_node.tests.soak.report import Report

STEPS: Final = 2500
"""Length of a run, in the suite and wherever nothing else is said."""
SEEDS_PER_TEST: Final = 50
TICK_S: Final = 0.03
"""A tick of the default profile: a heartbeat of 150 ms is five."""

HEALING: Final = network_faults.HEALING + process_faults.HEALING + disk_faults.HEALING + administration.HEALING
FAULTS: Final = network_faults.ACTIONS + process_faults.ACTIONS + disk_faults.ACTIONS
SOMETIMES: Final = FAULTS + administration.ACTIONS
_COUNTED: Final = frozenset(action.name for action in SOMETIMES)


class Chaos:
    """A seeded choice of what happens next."""

    calm_in_the_end = True
    """Whether the run goes on with a cluster in which nothing goes wrong."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.world = World(seed)
        self.cluster = self.world.cluster
        self._actions, self._weights = _draw_actions(self.world.random)

    @property
    def trace(self) -> str:
        """Hash, in hex, of everything that happened so far."""
        return self.world.trace

    def run(self, steps: int = STEPS) -> None:
        """Do `steps` random actions, heal everything and require the cluster to work, through handovers too."""
        world = self.world
        faults = world.faults
        for action in world.random.choices(self._actions, self._weights, k=steps):
            world.step += 1
            if action.act(world) and action.name in _COUNTED:
                faults[action.name] += 1
        recover(world)
        if self.calm_in_the_end:
            live_on(world)

    def report(self) -> Report:
        """Return what happened, for the soak."""
        world = self.world
        return Report(
            seed=self.seed,
            simulated_s=world.elapsed_ticks * TICK_S,
            faults=world.faults,
            operations=self.cluster.observer.promises.asked,
            trace=world.trace,
        )


def _draw_actions(draw: Random) -> tuple[list[Action], list[float]]:
    """Return what may happen in a run, and how often."""
    share, calm = draw.choice((0.3, 0.5, 0.7)), draw.choice((0.1, 0.4, 1))
    patience, pace = draw.choice((0.2, 1, 1)), draw.choice((0.1, 0.3, 1))
    chosen = [action for action in SOMETIMES if draw.random() < share]
    weights = [action.weight * (pace if action.act is life.tick else 1) for action in life.ACTIONS]
    weights += [action.weight * patience for action in HEALING]
    weights += [action.weight * (calm if action in FAULTS else 1) for action in chosen]
    return [*life.ACTIONS, *HEALING, *chosen], weights


def run(seed: int, steps: int = STEPS) -> Index:
    """Run one seed; return how far the cluster committed."""
    chaos = Chaos(seed)
    chaos.run(steps)
    return chaos.cluster.observer.commit


def run_all(seeds: Iterable[int]) -> None:
    """Run seeds until one fails; what it raises names it."""
    for seed in seeds:
        try:
            run(seed)
        except Exception as error:
            error.add_note(f"seed {seed}")
            raise
