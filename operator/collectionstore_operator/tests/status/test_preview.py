"""The rows of a plan that is only shown."""

from __future__ import annotations

from typing import get_args

import msgspec

from collectionstore_operator.model.actions import Action, EnsureWorkload, disruptive
from collectionstore_operator.model.plan import Plan, postpone, propose
from collectionstore_operator.status.preview import DISRUPTIVE_NAMES, preview


def made(kind: type[msgspec.Struct]) -> Action:
    """Return an action with empty required fields; nothing here looks into them."""
    required = (one.name for one in msgspec.structs.fields(kind) if one.required)
    action: Action = kind(**dict.fromkeys(required, ""))  # type: ignore[assignment]
    return action


def test_disruptive_names_are_those_of_the_disruptive_actions() -> None:
    found = {kind.__name__ for kind in get_args(Action) if disruptive(made(kind))}
    assert found == DISRUPTIVE_NAMES


def test_steps_keep_their_order_and_say_what_they_wait_for() -> None:
    """A step with several actions disturbs if one of them does; one without actions by its name."""
    shrink = EnsureWorkload(replicas=1, revision="r", shrinks=True, reason="fewer members")
    grow = EnsureWorkload(replicas=5, revision="r", reason="more members")
    proposals = (
        propose(grow, subject="demo"),
        propose(grow, shrink, subject="demo"),
        postpone("RestartPod", reason="another revision", blocked_by="no quorum", subject="demo-1"),
        postpone("AddLearners", reason="new", blocked_by="not started", subject="demo-3"),
    )
    steps = tuple(msgspec.structs.replace(one.step, action_count=len(one.actions)) for one in proposals)
    rows = preview(Plan(actions=tuple(one for each in proposals for one in each.actions), steps=steps))
    assert [(one.order, one.step, one.disruptive, one.waits_for) for one in rows] == [
        (1, "EnsureWorkload", False, ""),
        (2, "EnsureWorkload", True, ""),
        (3, "RestartPod", True, "no quorum"),
        (4, "AddLearners", False, "not started"),
    ]


def test_empty_plan_has_no_rows() -> None:
    assert preview(Plan()) == ()
