"""A requested transfer of leadership: once for each value, to a member that can lead, whatever happens in between."""

from __future__ import annotations

import msgspec
import pytest

from collectionstore_operator.model.actions import RecordPlannedWork, TransferLeadership
from collectionstore_operator.model.assessment import assess
from collectionstore_operator.model.observed import NodeStatus, Observed, Pod
from collectionstore_operator.model.plan import Plan
from collectionstore_operator.model.planned_work import PlannedWork, Switchover, decode, request_digest
from collectionstore_operator.planning.switchover import requested
from collectionstore_operator.resource import labels
from collectionstore_operator.resource.desired import Desired
from collectionstore_operator.tests.planning.pictures import actions_of, blocked_steps, draw, make_desired, planned

HEALTHY = "0: leader\n1: voter lag=3\n2: voter"
TERM = 7
"""Of the leader in every picture."""


def asked(value: str = "any", **spec: object) -> Desired:
    return msgspec.structs.replace(make_desired(3, **spec), annotations={labels.TRANSFER_LEADER: value})


def recorded(made: Plan) -> PlannedWork | None:
    return next((one.work for one in made.actions if isinstance(one, RecordPlannedWork)), None)


def begun(value: str, *, term: int = TERM, done: bool = False) -> PlannedWork:
    return PlannedWork(switchover=Switchover(request=requested(asked(value)), term=term, done=done))


@pytest.mark.parametrize(
    ("value", "to"), [("any", "demo-2"), ("demo-1", "demo-1"), ("any 2026-11-30T06:00:00Z", "demo-2")]
)
def test_request_is_recorded_before_the_first_attempt(value: str, to: str) -> None:
    """The term of the leader is recorded with it: it tells afterwards whether leadership has moved."""
    desired = asked(value)
    made = planned(desired, draw(HEALTHY, desired))
    assert actions_of(made) == ["RecordPlannedWork", f"TransferLeadership demo-0 to {to}"]
    assert recorded(made) == begun(value)


def test_attempt_is_repeated_while_the_same_leader_leads() -> None:
    """A leader gives up a transfer that takes too long; nothing is recorded a second time."""
    desired = asked("any")
    made = planned(desired, draw(HEALTHY, desired, planned_work=begun("any")))
    assert actions_of(made) == ["TransferLeadership demo-0 to demo-2"]


@pytest.mark.parametrize("value", ["any", "demo-0"])
def test_request_is_done_when_it_has_been_carried_out(value: str) -> None:
    """`any`: leadership has moved to a later term. A name: that member leads."""
    desired = asked(value)
    made = planned(desired, draw(HEALTHY, desired, planned_work=begun(value, term=TERM - 1)))
    assert actions_of(made) == ["RecordPlannedWork"]
    assert recorded(made) == begun(value, done=True)


def test_member_that_leads_already_is_not_asked() -> None:
    desired = asked("demo-0")
    assert actions_of(planned(desired, draw(HEALTHY, desired))) == ["RecordPlannedWork"]


@pytest.mark.parametrize("value", ["any", "demo-1", "demo-9"])
def test_done_request_is_never_repeated(value: str) -> None:
    """Whoever leads since: a request is not a preference."""
    desired = asked(value)
    assert planned(desired, draw(HEALTHY, desired, planned_work=begun(value, done=True))).converged


def test_new_value_is_a_new_request() -> None:
    desired = asked("any again")
    made = planned(desired, draw(HEALTHY, desired, planned_work=begun("any", done=True)))
    assert actions_of(made) == ["RecordPlannedWork", "TransferLeadership demo-0 to demo-2"]


def test_removal_of_the_annotation_withdraws_the_request() -> None:
    """Afterwards the same value is a new request."""
    desired = make_desired(3)
    made = planned(desired, draw(HEALTHY, desired, planned_work=begun("any")))
    assert (actions_of(made), recorded(made)) == (["RecordPlannedWork"], PlannedWork())
    assert planned(desired, draw(HEALTHY, desired)).converged


@pytest.mark.parametrize(
    ("picture", "value", "blocker"),
    [
        (HEALTHY, "demo-7", "'demo-7' is not a member; allowed: demo-0, demo-1, demo-2, any"),
        (HEALTHY, "x" * 100, f"'{'x' * 64}' is not a member; allowed: demo-0, demo-1, demo-2, any"),
        (HEALTHY, " ", "'' is not a member; allowed: demo-0, demo-1, demo-2, any"),
        ("0: leader\n1: voter lag=9000\n2: voter", "demo-1", "demo-1 must catch up first"),
        ("0: leader\n1: voter unready=5\n2: voter", "demo-1", "demo-1 is not ready"),
        ("0: leader\n1: voter stopping\n2: voter", "demo-1", "demo-1 is terminating"),
        ("0: leader\n1: learner\n2: voter\n3: voter", "demo-1", "demo-1 does not vote yet"),
        ("0: leader\n1: voter unready=5\n2: voter lag=900", "any", "no other voter is in sync and ready"),
    ],
)
def test_target_that_cannot_lead_is_not_asked(picture: str, value: str, blocker: str) -> None:
    desired = asked(value)
    made = planned(desired, draw(picture, desired))
    assert not [one for one in made.actions if isinstance(one, TransferLeadership)]
    assert blocker in [step.blocked_by for step in made.steps if step.name == "TransferLeadership"]


def test_member_on_a_claim_that_is_being_deleted_is_no_target() -> None:
    """It is replaced next: leadership would move again."""
    desired = asked("demo-1", failed_member=make_desired(3).spec.failed_member)
    made = planned(desired, draw("0: leader\n1: voter doomed\n2: voter", desired))
    assert "TransferLeadership" not in " ".join(actions_of(made))
    assert "the claim of demo-1 is being deleted" in " ".join(blocked_steps(made))


@pytest.mark.parametrize("hidden", ["0: voter\n1: voter\n2: voter", "0: leader\n1: voter silent\n2: voter silent"])
def test_nothing_moves_without_a_trusted_leader(hidden: str) -> None:
    desired = asked("demo-1")
    made = planned(desired, draw(hidden, desired))
    assert not {"TransferLeadership", "RecordPlannedWork"} & {action.split()[0] for action in actions_of(made)}


def test_paused_resource_holds_it_back() -> None:
    desired = asked("any", paused=True)
    made = planned(desired, draw(HEALTHY, desired))
    assert not made.actions
    assert blocked_steps(made) == ["TransferLeadership demo-0: spec.paused is true"]


def test_unreadable_record_is_neither_trusted_nor_overwritten() -> None:
    desired = asked("any")
    work = decode('{"switchover": 5')
    made = planned(desired, draw(HEALTHY, desired, planned_work=work))
    assert not made.actions
    assert "planned-work in the record" in blocked_steps(made)[0]


def test_repair_goes_before_a_requested_transfer() -> None:
    """At most one disruptive step in a round, and the failed member is the more urgent one."""
    desired = asked("demo-2")
    made = planned(desired, draw("0: leader\n1: voter down=900 failure=Disk\n2: voter", desired))
    assert actions_of(made) == ["RetireVolume data-demo-1 keep"]


def test_killed_operator_carries_out_each_request_once() -> None:
    """The operator is killed after every single action: `any` moves leadership exactly once."""
    desired = asked("any")
    leader, term, work, moves = 0, TERM, PlannedWork(), 0
    for _ in range(8):
        picture = "\n".join(f"{n}: {'leader' if n == leader else 'voter'}" for n in range(3))
        observed = _with_term(draw(picture, desired, planned_work=work), term)
        for action in planned(desired, observed).actions[:1]:
            if isinstance(action, RecordPlannedWork):
                assert action.was == work
                work = action.work
            else:
                assert isinstance(action, TransferLeadership)
                leader, term, moves = int(action.to.name[-1]), term + 1, moves + 1
    assert moves == 1
    assert work == PlannedWork(switchover=Switchover(request=requested(desired), term=TERM + 1, done=True))
    assert assess(desired, observed).view.trusted


def _with_term(observed: Observed, term: int) -> Observed:
    slots = [
        msgspec.structs.replace(slot, node=msgspec.structs.replace(slot.node, term=term))
        for slot in observed.slots
        if isinstance(slot.node, NodeStatus) and isinstance(slot.pod, Pod)
    ]
    return msgspec.structs.replace(observed, slots=tuple(slots))


def test_record_survives_a_round_trip_and_ignores_what_is_newer() -> None:
    work = begun("demo-1", done=True)
    assert decode(work.encoded()) == work
    assert decode(work.encoded()[:-1] + ',"newer":{"a":1}}') == work
    assert decode(PlannedWork().encoded()) == PlannedWork()
    assert decode("") == PlannedWork()
    assert len(request_digest({"a": "x" * 100_000}, "a")) == 16
