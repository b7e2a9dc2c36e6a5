"""Restarts for a change wait for a window or an approval; repair waits for neither."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from collectionstore_operator.manifests.node_environment import revision
from collectionstore_operator.model.assessment import assess
from collectionstore_operator.model.observed import Failure
from collectionstore_operator.model.timestamps import DAY_S, seconds
from collectionstore_operator.model.update_windows import is_open, next_opening, update_held
from collectionstore_operator.resource import labels
from collectionstore_operator.resource.desired import Desired
from collectionstore_operator.resource.updates import DAYS, Updates, Window
from collectionstore_operator.status.report import report
from collectionstore_operator.tests.planning.pictures import NOW, actions_of, draw, make_desired, planned
from collectionstore_operator.tests.planning.test_read_replicas import Replica, with_reads

OLD = "0: leader\n1: voter old\n2: voter"
SUPERVISED = Updates(mode="Supervised")
LATER = Window(start="02:30", duration_minutes=90, days=("Saturday",), time_zone="+02:00")
"""NOW is Thursday, 2026-08-27, 12:00 UTC."""


def updating(updates: Updates | None, **annotations: str) -> Desired:
    given = {f"collectionstore.io/{name.replace('_', '-')}": value for name, value in annotations.items()}
    return msgspec.structs.replace(make_desired(3, updates=updates), annotations=given)


def approved(updates: Updates) -> Desired:
    return updating(updates, approve_update=revision(updating(updates)))


def updated(desired: Desired, picture: str = OLD) -> str:
    observed = draw(picture, desired)
    status = report(assess(desired, observed), planned(desired, observed), None)
    found = status.condition("MembersUpdated")
    assert found is not None
    return f"{found.status} {found.reason}: {found.message}"


@pytest.mark.parametrize(
    "updates", [SUPERVISED, Updates(windows=(LATER,)), Updates(mode="Supervised", windows=(LATER,))]
)
def test_members_that_work_wait(updates: Updates) -> None:
    """No step waits: nothing is wrong, and no alert is due. The condition says what for."""
    desired = updating(updates)
    assert planned(desired, draw(OLD, desired)).converged
    assert updated(desired).startswith("False UpdateHeld: not at revision")


def test_condition_says_until_when_or_how_to_approve() -> None:
    assert "opens at 2026-08-29T00:30:00Z" in updated(updating(Updates(windows=(LATER,))))
    desired = updating(SUPERVISED)
    assert f"{labels.APPROVE_UPDATE}={revision(desired)}" in updated(desired)


@pytest.mark.parametrize("updates", [None, Updates(), Updates(mode="Automatic", windows=())])
def test_members_are_restarted_at_once_by_default(updates: Updates | None) -> None:
    desired = updating(updates)
    assert actions_of(planned(desired, draw(OLD, desired))) == ["RestartPod demo-1"]


def test_approval_is_for_one_revision() -> None:
    desired = approved(SUPERVISED)
    assert actions_of(planned(desired, draw(OLD, desired))) == ["RestartPod demo-1"]
    newer = msgspec.structs.replace(desired, spec=msgspec.structs.replace(desired.spec, version="0.9.0"))
    assert "RestartPod" not in " ".join(actions_of(planned(newer, draw(OLD, newer))))


@pytest.mark.parametrize(
    "updates", [SUPERVISED, Updates(windows=(LATER,)), Updates(mode="Supervised", windows=(LATER,))]
)
def test_read_replicas_wait_as_the_voters_do(updates: Updates) -> None:
    desired = msgspec.structs.replace(
        updating(updates), spec=msgspec.structs.replace(updating(updates).spec, read_replicas=2)
    )
    seen = with_reads(desired, "0: leader\n1:\n2:", Replica(old=True), Replica(old=True))
    assert planned(desired, seen).converged
    found = report(assess(desired, seen), planned(desired, seen), None).condition("MembersUpdated")
    assert found is not None
    assert (found.status, found.reason) == ("False", "UpdateHeld")
    assert "demo-read-0, demo-read-1" in found.message


def test_read_replica_that_is_down_waits_for_no_approval() -> None:
    desired = make_desired(3, read_replicas=1, updates=SUPERVISED)
    broken = Replica(old=True, failure=Failure.IMAGE, active=False)
    assert actions_of(planned(desired, with_reads(desired, "0: leader\n1:\n2:", broken))) == ["RestartPod demo-read-0"]


def test_approval_of_the_revision_in_the_status_is_one_for_read_replicas() -> None:
    """Their own revision is another one with a bound of staleness of their own; users see that of the voters."""
    desired = make_desired(3, read_replicas=1, read_replica_max_staleness_seconds=5, updates=SUPERVISED)
    assert revision(desired.reads()) != revision(desired)
    seen = with_reads(desired, "0: leader\n1:\n2:", Replica(old=True))
    assert planned(desired, seen).converged
    agreed = msgspec.structs.replace(desired, annotations={labels.APPROVE_UPDATE: revision(desired)})
    assert actions_of(planned(agreed, seen)) == ["RestartPod demo-read-0"]
    found = report(assess(agreed, seen), planned(agreed, seen), None).condition("MembersUpdated")
    assert found is not None
    assert found.message.endswith(f"demo-read-0 (revision {revision(desired.reads())})")


def test_approval_waits_for_a_window_as_well() -> None:
    desired = approved(Updates(mode="Supervised", windows=(LATER,)))
    assert planned(desired, draw(OLD, desired)).converged
    observed = msgspec.structs.replace(draw(OLD, desired), now=seconds("2026-08-29T00:30:00Z"))
    assert actions_of(planned(desired, observed)) == ["RestartPod demo-1"]


@pytest.mark.parametrize(
    ("picture", "action"),
    [
        ("0: leader\n1: voter old down=60 failure=Image\n2: voter", "RestartPod demo-1"),
        ("0: leader\n1: voter old down=900 failure=Disk\n2: voter", "RestartPod demo-1"),
        ("0: leader\n1: voter down=900 failure=Disk\n2: voter", "RetireVolume data-demo-1 keep"),
        ("0: leader\n1: rejoined\n2: voter", "ChangeVoters +new-1 -old-1"),
    ],
)
def test_repair_is_never_held_back(picture: str, action: str) -> None:
    desired = updating(Updates(mode="Supervised", windows=(LATER,)))
    assert action in actions_of(planned(desired, draw(picture, desired)))


def test_revision_does_not_depend_on_when_it_may_be_rolled_out() -> None:
    """Members of clusters that use the field are not restarted because of it."""
    assert revision(updating(SUPERVISED)) == revision(updating(None))


# The windows


@pytest.mark.parametrize(
    ("now", "opened"),
    [
        ("2026-08-29T00:29:59Z", False),
        ("2026-08-29T00:30:00Z", True),
        ("2026-08-29T01:59:59Z", True),
        ("2026-08-29T02:00:00Z", False),
        ("2026-08-28T00:30:00Z", False),
    ],
)
def test_window_is_half_open_and_of_its_zone(now: str, opened: bool) -> None:  # noqa: FBT001
    """02:30 on Saturday at +02:00 is 00:30 UTC."""
    assert is_open((LATER,), seconds(now)) is opened


def test_window_may_end_on_the_next_day() -> None:
    night = Window(start="23:00", duration_minutes=240, days=("Friday",))
    assert is_open((night,), seconds("2026-08-29T02:59:59Z"))
    assert not is_open((night,), seconds("2026-08-30T02:00:00Z"))


def test_zone_behind_utc_may_have_another_day() -> None:
    west = Window(start="20:00", duration_minutes=60, days=("Friday",), time_zone="-08:00")
    assert next_opening((west,), NOW) == seconds("2026-08-29T04:00:00Z")


windows = st.builds(
    Window,
    start=st.builds("{:02}:{:02}".format, st.integers(0, 23), st.integers(0, 59)),
    duration_minutes=st.integers(1, 1_440),
    days=st.none() | st.sets(st.sampled_from(DAYS), min_size=1).map(tuple),
    time_zone=st.sampled_from([None, "UTC", "+02:00", "-11:30", "+14:00", "-14:59"]),
)


@given(st.lists(windows, min_size=1, max_size=4), st.floats(0, 4e9))
def test_next_opening_is_the_next_one(some: list[Window], now: float) -> None:
    """It is open then, within eight days, and no other window begins before."""
    opening = next_opening(some, now)
    assert opening is not None
    assert now < opening <= now + 8 * DAY_S
    assert is_open(some, opening)
    if not is_open(some, now):
        assert not is_open(some, opening - 1) or opening - 1 < now


def test_held_back_by_nothing_without_the_field() -> None:
    assert update_held(make_desired(3), "r", NOW) == ""
