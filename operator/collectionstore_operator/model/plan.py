"""The plan: steps, each with its reason and what blocks it, and the actions that carry them out now. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import islice
from typing import Final

import msgspec

from collectionstore_operator.model.actions import Action

RECOVER_QUORUM: Final = "RecoverQuorum"
"""The name of every step of a recovery from a lost quorum."""
RESTORE_IN_PLACE: Final = "RestoreInPlace"
"""The name of every step of an in-place restore."""
AWAIT_LEADER: Final = "AwaitLeader"
"""The name of the step that waits for a leader that can be trusted."""


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """One entry of the published plan: the action, its reason, and what blocks it."""

    name: str
    """CamelCase, as the reason of an Event: `AddLearners`."""
    subject: str = ""
    """The object of the step: `demo-3, demo-4`."""
    reason: str
    blocked_by: str = ""
    """Why the step has to wait; empty if it is executed now."""
    action_count: int = 0
    """How many actions of the plan execute it, in the order of the steps; 0 if it has to wait."""


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """The actions to execute now, in order, and all remaining steps. `converged` without either."""

    actions: tuple[Action, ...] = ()
    steps: tuple[Step, ...] = ()

    @property
    def converged(self) -> bool:
        """Whether the observed state equals the desired state."""
        return not self.actions and not self.steps


def with_failures(plan: Plan, failures: Mapping[Action, str], *, independent: tuple[type, ...]) -> Plan:
    """Return a plan for the status: a step whose action failed when it was last tried is blocked by that.

    A plan proposes the action again, as it must; without this, `blockedBy` is empty for as long as it is refused. Steps
    after it wait for it, unless its failed actions are `independent`.
    """
    steps, remaining, first = [], iter(plan.actions), ""
    for step in plan.steps:
        actions = tuple(islice(remaining, step.action_count))
        failed = [action for action in actions if action in failures]
        blocker = f"the last attempt failed: {failures[failed[0]]}" if failed else ""
        if actions and first:
            blocker = blocker or f"{first} must complete first"
        if not first and any(not isinstance(action, independent) for action in failed):
            first = f"{step.name} {step.subject}".strip()
        steps.append(msgspec.structs.replace(step, blocked_by=blocker) if blocker else step)
    return msgspec.structs.replace(plan, steps=tuple(steps))


class Proposal(msgspec.Struct, frozen=True, kw_only=True):
    """A step that one part of the planner proposes, with its actions; without actions while it is blocked."""

    step: Step
    actions: tuple[Action, ...] = ()


def propose(first: Action, *more: Action, subject: str = "", name: str = "") -> Proposal:
    """Propose actions for now; the step takes its reason from the first action, and its name unless `name` is set."""
    step = Step(name=name or type(first).__name__, subject=subject, reason=first.reason)
    return Proposal(step=step, actions=(first, *more))


def postpone(name: str, *, reason: str, blocked_by: str, subject: str = "") -> Proposal:
    """Propose a step that is blocked; `name` is the name of the future action or of its purpose."""
    return Proposal(step=Step(name=name, subject=subject, reason=reason, blocked_by=blocked_by))


def postponed(proposal: Proposal, blocked_by: str) -> Proposal:
    """Return a proposal that is blocked by `blocked_by`; one that is already blocked keeps its cause."""
    step = proposal.step
    if not proposal.actions:
        return proposal
    return Proposal(step=msgspec.structs.replace(step, blocked_by=blocked_by))
