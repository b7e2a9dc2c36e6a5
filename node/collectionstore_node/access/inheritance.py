"""Which roles inherit which: no role inherits itself, and chains and rules are bounded. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple, Protocol

from collectionstore_node.access.roles import ALL_RULES_MAX, DEPTH_MAX


class Inheriting(Protocol):
    """What is asked of a role here."""

    @property
    def inherits(self) -> tuple[str, ...]:
        """Names of the roles whose rules count as well."""

    @property
    def rules(self) -> int:
        """How many rules it has by itself."""


class Flaw(NamedTuple):
    """Why a role cannot be stored beside the others."""

    circular: bool
    """Whether it would inherit itself; otherwise there would be too much of something."""
    pointer: str
    """Where in its body."""
    what: str
    """The role by which it would, or how much there may be."""


def flaw_of(others: Mapping[str, Inheriting], name: str, made: Inheriting) -> Flaw | None:
    """Return what is wrong with all roles once the one called `name` is `made`; None for nothing.

    `others` are all that there are, those that are built in too. Roles that inherit it are looked at as well: their
    chains become longer by it, and their rules more.
    """
    roles = {**others, name: made}
    inherits = {one: record.inherits for one, record in roles.items()}
    for at, parent in enumerate(made.inherits):
        if parent == name or name in closure((parent,), inherits.get):
            return Flaw(circular=True, pointer=f"/inherits/{at}", what=parent)
    heights: dict[str, int] = {}
    if any(_height(one, inherits, heights) > DEPTH_MAX for one in roles):
        return Flaw(circular=False, pointer="/inherits", what=f"{DEPTH_MAX} roles that inherit one another in a row")
    for one in roles:
        if sum(roles[each].rules for each in closure((one,), inherits.get) if each in roles) > ALL_RULES_MAX:
            return Flaw(
                circular=False, pointer="/rules", what=f"{ALL_RULES_MAX} rules of a role and all that it inherits"
            )
    return None


def closure(names: Iterable[str], inherits: Callable[[str], tuple[str, ...] | None]) -> set[str]:
    """Return `names` and all that they inherit; each is looked at once."""
    found: set[str] = set()
    open_names = list(names)
    while open_names:
        name = open_names.pop()
        if name not in found:
            found.add(name)
            open_names += inherits(name) or ()
    return found


def _height(name: str, inherits: dict[str, tuple[str, ...]], known: dict[str, int]) -> int:
    """Return how many roles follow one another at most from `name` on, itself included. No role inherits itself."""
    # A role that exists inherits at most DEPTH_MAX in a row, so this goes little deeper.
    height = known.get(name)
    if height is None:
        height = 1 + max((_height(parent, inherits, known) for parent in inherits.get(name, ())), default=0)
        known[name] = height
    return height
