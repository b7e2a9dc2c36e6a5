"""Declaration of scenarios."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Literal, TypeAlias

from collectionstore_e2e.harness.context import Context

Body: TypeAlias = Callable[[Context], Awaitable[None]]
PodSecurity: TypeAlias = Literal["restricted", "baseline", "privileged"]


@dataclass(frozen=True, slots=True)
class Scenario:
    """A named test; `body` raises if the product does not do what its docstring says."""

    name: str
    body: Body
    timeout_s: float
    needs_machines: bool
    exclusive: bool
    """Whether it runs alone: it changes what all namespaces share, such as a node."""
    pod_security: PodSecurity
    long: bool = False
    """Whether it takes many minutes: it runs if it is named, or with all by `--long`."""

    @property
    def title(self) -> str:
        """The first line of its docstring."""
        return (self.body.__doc__ or "").strip().partition("\n")[0]


_declared: dict[str, Scenario] = {}


def scenario(
    *,
    timeout_s: float,
    needs_machines: bool = False,
    exclusive: bool | None = None,
    pod_security: PodSecurity = "restricted",
    long: bool = False,
) -> Callable[[Body], Body]:
    """Declare a function of `scenarios/` as a scenario; its name, with hyphens, is what `make e2e SCENARIO=` takes.

    `needs_machines`: it uses the machines, so it runs only on the cluster of `make kube-up`.
    `exclusive`: no other scenario runs meanwhile, because it changes nodes, the API server or other objects that all
    namespaces share, or watches all namespaces. Defaults to `needs_machines`. The others run side by side; the harness
    lets them break no node.
    `long`: it takes many minutes, so a run of all leaves it out unless it is asked for.
    """

    def declare(body: Body) -> Body:
        name, alone = body.__name__.replace("_", "-"), needs_machines if exclusive is None else exclusive
        _declared[name] = Scenario(name, body, timeout_s, needs_machines, alone, pod_security, long)
        return body

    return declare


def declared() -> dict[str, Scenario]:
    """Return all declared scenarios by name."""
    return dict(_declared)
