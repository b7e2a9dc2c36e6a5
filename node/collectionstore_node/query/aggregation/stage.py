"""`Stage`: what every stage of a pipeline is, and what it may use."""

from __future__ import annotations

from typing import NamedTuple, Protocol

from collectionstore_node.query.aggregation.work import Items, Work
from collectionstore_node.query.find import Find


class Source(Protocol):
    """Other collections, of the same state as the first one."""

    def documents(self, join: int, find: Find) -> Items:
        """Return the documents of the collection of a join that match, by ID, with pauses.

        `join` is its place in `Pipeline.collections`. Each join reads to the end before it reads again. Raises
        `InvalidRequest`.
        """


class Surroundings(NamedTuple):
    """What the stages of one run share."""

    work: Work
    source: Source


class Stage(Protocol):
    """One checked stage. It keeps nothing between runs."""

    @property
    def name(self) -> str:
        """How it is written, such as `$group`."""

    def run(self, items: Items, around: Surroundings) -> Items:
        """Return what comes out behind what comes in.

        It hands each None on before it takes another item, makes a pause when `work.due`, and changes no document.
        Raises `InvalidRequest`.
        """
