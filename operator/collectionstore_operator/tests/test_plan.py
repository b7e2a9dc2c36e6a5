"""The planner as a table of stories: what is wanted, what is seen, what is done now, what waits and for what."""

from __future__ import annotations

import msgspec
import pytest

from collectionstore_operator.observed import ABSENT, AppliedObject, Configuration, NodeStatus, Observed, Unknown, Workload
from collectionstore_operator.plan import plan
from collectionstore_operator.resources import Desired, FailedMember, Storage
from collectionstore_operator.tests.pictures import CLUSTER_ID, NOW, draw, told, waiting, wanted

Story = tuple[str, Desired, str, list[str]]

HEALTHY = "0: leader\n1: voter\n2: voter"
FIVE = "0: leader\n1: voter\n2: voter\n3: voter\n4: voter"
AUTOMATIC = FailedMember(grace_seconds=300)
MANUAL = FailedMember(replacement="Manual")

FORMING: list[Story] = [
    ("first member forms the cluster alone", wanted(3), "0: fresh\n1: fresh\n2: fresh", ["Bootstrap demo-0"]),
    ("not while another disk may hold data", wanted(3), "0: fresh\n1: fresh\n2: fresh mute", []),
    ("a pod that waits on an empty disk is no obstacle", wanted(3), "0: fresh\n1: fresh\n2: fresh down=9 empty", ["Bootstrap demo-0"]),
    ("never when a disk has history", wanted(3), "0: fresh\n1: stale\n2: fresh", []),
    ("never when a disk that is not wanted may hold data", wanted(3), "0: fresh\n1: fresh\n2: fresh\n3: free", []),
    ("the others join as learners, in one call", wanted(3), "0: leader\n1: fresh\n2: fresh", ["AddLearners demo-1 demo-2"]),
    ("those that are there do not wait for others", wanted(3), "0: leader\n1: fresh\n2: fresh mute", ["AddLearners demo-1"]),
    ("no vote before all have caught up", wanted(3), "0: leader\n1: learner lag=9000\n2: learner", []),
    ("all votes in one joint change", wanted(3), "0: leader\n1: learner\n2: learner lag=40", ["ChangeVoters +old-1 +old-2"]),
    ("nothing while that change runs", wanted(3), "0: leader\n1: incoming\n2: incoming", []),
    ("a formed cluster is left alone", wanted(3), HEALTHY, []),
]  # fmt: skip

GROWING: list[Story] = [
    ("pods first", wanted(5), HEALTHY, ["EnsureWorkload 5"]),
    ("not on the disk of a removed member", wanted(5), f"{HEALTHY}\n3: left\n4: gone", ["RetireVolume data-demo-3 keep"]),
    ("an unmarked disk is judged once its node answers", wanted(5), f"{HEALTHY}\n3: free\n4: free", ["EnsureWorkload 5"]),
    ("a stale disk that was started is taken away", wanted(5), f"{HEALTHY}\n3: stale\n4: fresh", ["RetireVolume data-demo-3 keep"]),
    ("a stale disk, even if it looks new, when it is marked", wanted(5), f"{HEALTHY}\n3: fresh marked\n4: fresh", ["RetireVolume data-demo-3 keep"]),
    ("new members join as learners", wanted(5), f"{HEALTHY}\n3: fresh\n4: fresh", ["AddLearners demo-3 demo-4"]),
    ("three become five in one step", wanted(5), f"{HEALTHY}\n3: learner\n4: learner", ["ChangeVoters +old-3 +old-4"]),
    ("one slow learner holds both back", wanted(5), f"{HEALTHY}\n3: learner\n4: learner lag=501", []),
    ("a cancelled growth takes the learners out", wanted(3), f"{HEALTHY}\n3: learner\n4: learner lag=9000", ["RemoveLearners demo-3 demo-4"]),
    ("then their pods go, and their disks are marked", wanted(3), f"{HEALTHY}\n3: stale\n4: stale", ["MarkVolume data-demo-3", "MarkVolume data-demo-4", "EnsureWorkload 3"]),
    ("pods that never joined go too", wanted(3), f"{HEALTHY}\n3: fresh\n4: gone", ["MarkVolume data-demo-3", "EnsureWorkload 3"]),
    ("growth is not held up by a member in its grace time", wanted(5), "0: leader\n1: voter\n2: voter down=9\n3: learner\n4: learner", ["ChangeVoters +old-3 +old-4"]),
]  # fmt: skip

SHRINKING: list[Story] = [
    ("all victims leave in one step, the highest ordinals", wanted(3), FIVE, ["ChangeVoters -old-3 -old-4"]),
    ("a leader among them hands over first", wanted(3), "0: voter lag=9\n1: voter\n2: voter lag=2\n3: voter\n4: leader", ["TransferLeadership demo-4 to demo-1"]),
    ("to a member whose pod serves", wanted(3), "0: voter lag=9\n1: voter unready=3\n2: voter\n3: leader\n4: voter", ["TransferLeadership demo-3 to demo-2"]),
    ("nothing while the handover or the change runs", wanted(3), "0: leader\n1: voter\n2: voter\n3: outgoing\n4: outgoing", []),
    ("not onto a member that is down", wanted(3), "0: leader\n1: voter\n2: voter down=9\n3: voter\n4: voter", []),
    ("not onto a member that lags", wanted(3), "0: leader\n1: voter lag=9000\n2: voter\n3: voter\n4: voter", []),
    ("a victim that is down is no obstacle", wanted(3), "0: leader\n1: voter\n2: voter\n3: voter down=9\n4: voter", ["ChangeVoters -old-3 -old-4"]),
    ("to one, where it is asked for", wanted(1), HEALTHY, ["ChangeVoters -old-1 -old-2"]),
    ("pods stop after their members left, marked disks are not marked again", wanted(1), "0: leader\n1: stale marked\n2: stale", ["MarkVolume data-demo-2", "EnsureWorkload 1"]),
    ("disks are kept", wanted(3), f"{HEALTHY}\n3: left\n4: left", []),
    ("or deleted, one at a time, when the resource says so", wanted(3, storage=Storage(retention="Delete")), f"{HEALTHY}\n3: left\n4: left", ["RetireVolume data-demo-3 delete"]),
    ("wanted again before its pod stopped: it needs an empty disk", wanted(5), f"{HEALTHY}\n3: stale marked\n4: stale marked", ["RetireVolume data-demo-3 keep"]),
]  # fmt: skip

REPAIR: list[Story] = [
    ("a member on a new disk joins as a new incarnation", wanted(3), "0: leader\n1: renewed\n2: voter", ["AddLearners demo-1"]),
    ("it catches up first", wanted(3), "0: leader\n1: rejoined lag=9000\n2: voter", []),
    ("then it takes the place of the old one in one joint change", wanted(3), "0: leader\n1: rejoined\n2: voter", ["ChangeVoters +new-1 -old-1"]),
    ("two at once where the quorum bears it", wanted(5), "0: leader\n1: rejoined\n2: rejoined\n3: voter\n4: voter", ["ChangeVoters +new-1 +new-2 -old-1 -old-2"]),
    ("repair comes before growth", wanted(5), "0: leader\n1: rejoined\n2: voter\n3: learner\n4: learner", ["ChangeVoters +new-1 -old-1"]),
    ("a member that is down has time to come back", wanted(3), "0: leader\n1: voter down=299 failure=Disk\n2: voter", []),
    ("after it, it gets an empty disk", wanted(3), "0: leader\n1: voter down=300 failure=Disk\n2: voter", ["RetireVolume data-demo-1 keep"]),
    ("a lost machine", wanted(3), "0: leader\n1: voter down=300 failure=Machine\n2: voter", ["RetireVolume data-demo-1 keep"]),
    ("a crash that other members with the same settings do not have", wanted(3), "0: leader\n1: voter down=300 failure=Crash\n2: voter", ["RetireVolume data-demo-1 keep"]),
    ("a bad image is no reason to lose a disk", wanted(3), "0: leader\n1: voter down=9000 failure=Image\n2: voter", []),
    ("nor are settings that no other member works with", wanted(3), "0: leader old\n1: voter down=300 failure=Crash\n2: voter old", []),
    ("never without being asked when replacement is manual", wanted(3, failed_member=MANUAL), "0: leader\n1: voter down=9000 failure=Disk\n2: voter", []),
    ("at once when asked", wanted(3, failed_member=MANUAL), "0: leader\n1: voter down=2 replace\n2: voter", ["RetireVolume data-demo-1 keep"]),
    ("one that works, when asked", wanted(3), "0: leader\n1: voter replace\n2: voter", ["RetireVolume data-demo-1 keep"]),
    ("not if the quorum needs it", wanted(3), "0: leader\n1: voter replace\n2: voter down=9", []),
    ("a leader hands over first", wanted(3), "0: leader replace\n1: voter\n2: voter", ["TransferLeadership demo-0 to demo-1"]),
    ("one at a time", wanted(5), "0: leader\n1: voter down=400 failure=Disk\n2: voter down=400 failure=Disk\n3: voter\n4: voter", ["RetireVolume data-demo-1 keep"]),
    ("the next after the first is done", wanted(5), "0: leader\n1: rejoined lag=9000\n2: voter down=400 failure=Disk\n3: voter\n4: voter", []),
    ("never what cannot be seen", wanted(3), "0: leader\n1: voter down=9000 hidden\n2: voter", []),
    ("never a pod that says it serves", wanted(3), "0: leader\n1: voter silent\n2: voter", []),
    ("a joining member's broken disk is replaced as well", wanted(5), f"{HEALTHY}\n3: fresh down=300 failure=Disk\n4: learner", ["RetireVolume data-demo-3 keep"]),
    ("a learner that is down is waited for", wanted(3), "0: leader\n1: learner down=5\n2: voter", []),
]  # fmt: skip

ROLLOUT: list[Story] = [
    ("the follower furthest behind first", wanted(3), "0: leader old\n1: voter old lag=3\n2: voter old", ["RestartPod demo-1"]),
    ("then the next", wanted(3), "0: leader old\n1: voter\n2: voter old", ["RestartPod demo-2"]),
    ("none while another comes back", wanted(3), "0: leader old\n1: voter unready=2\n2: voter old", []),
    ("none while another catches up", wanted(3), "0: leader old\n1: voter lag=9000\n2: voter old", []),
    ("none while one cannot be seen", wanted(3), "0: leader old\n1: voter hidden\n2: voter old", []),
    ("the leader last, after it handed over", wanted(3), "0: leader old\n1: voter lag=9\n2: voter", ["TransferLeadership demo-0 to demo-2"]),
    ("and then as a follower", wanted(3), "0: voter old\n1: voter\n2: leader", ["RestartPod demo-0"]),
    ("broken ones first: a reverted image cures without help", wanted(3), "0: leader\n1: voter\n2: voter old down=9 failure=Image", ["RestartPod demo-2"]),
    ("broken ones first, even when others are outdated too", wanted(3), "0: leader old\n1: voter old\n2: voter old down=9", ["RestartPod demo-2"]),
    ("a restarted member that does not work stops it", wanted(3), "0: leader old\n1: voter old\n2: voter down=9 failure=Image", []),
    ("never below the quorum of both halves", wanted(3), "0: leader\n1: voter\n2: voter old\n3: outgoing\n4: outgoing", []),
    ("a learner is restarted before voters", wanted(3), "0: leader old\n1: voter old\n2: learner old unready=9", ["RestartPod demo-2"]),
    ("the only voter of a cluster of one", wanted(1), "0: leader old", ["RestartPod demo-0"]),
    ("not the only voter of a cluster that grows", wanted(3), "0: leader old\n1: learner lag=9000\n2: learner", []),
    ("growth comes before it", wanted(5), "0: leader old\n1: voter old\n2: voter old\n3: learner\n4: learner", ["ChangeVoters +old-3 +old-4"]),
    ("it goes on while growth is stuck", wanted(5), f"{HEALTHY} old\n3: fresh down=9 failure=Scheduling\n4: learner", ["RestartPod demo-2"]),
]  # fmt: skip

LEADERLESS: list[Story] = [
    ("nothing is changed", wanted(3), "0: voter\n1: voter\n2: voter", []),
    ("no member is replaced", wanted(3), "0: voter\n1: voter down=9000 failure=Disk\n2: voter", []),
    ("no pod is taken away", wanted(3), "0: voter\n1: voter\n2: voter\n3: voter\n4: voter", []),
    ("a broken outdated pod is restarted", wanted(3), "0: voter\n1: voter old down=9 failure=Image\n2: voter", ["RestartPod demo-1"]),
    ("a running one not while an election may run", wanted(3), "0: voter unready=9\n1: voter old unready=9\n2: voter unready=9", []),
    ("later it is, if all are known not to lead", wanted(3), "0: voter unready=20\n1: voter old unready=20\n2: voter unready=20", ["RestartPod demo-1"]),
    ("not while one is silent that may lead", wanted(3), "0: voter unready=20\n1: voter old unready=20\n2: voter unready=20 mute", []),
]  # fmt: skip

STORIES = [
    pytest.param(*story[1:], id=f"{name}: {story[0]}")
    for name, stories in (
        ("forming", FORMING),
        ("growing", GROWING),
        ("shrinking", SHRINKING),
        ("repair", REPAIR),
        ("rollout", ROLLOUT),
        ("leaderless", LEADERLESS),
    )
    for story in stories
]


@pytest.mark.parametrize(("desired", "picture", "actions"), STORIES)
def test_plan_acts_as_the_story_says(desired: Desired, picture: str, actions: list[str]) -> None:
    """For each story exactly these actions are done now."""
    assert told(plan(desired, draw(picture, desired))) == actions


WAITS = [
    (wanted(3), "0: fresh\n1: fresh\n2: fresh mute", "Bootstrap demo-0: demo-2 does not answer: no answer within 1 s"),
    (wanted(3), "0: leader\n1: learner lag=9123\n2: learner", "ChangeVoters demo-1, demo-2: demo-1 must catch up first: more than 9,000 entries behind"),
    (wanted(5), f"{HEALTHY}\n3: fresh down=9 failure=Scheduling\n4: learner", "AddLearners demo-3: demo-3 is not running: Scheduling"),
    (wanted(3), "0: leader\n1: voter\n2: voter\n3: outgoing\n4: outgoing", "ChangeVoters demo-3, demo-4: a joint configuration is in force, and the leader leaves it by itself"),
    (wanted(3), "0: leader\n1: voter\n2: voter down=9\n3: voter\n4: voter", "ChangeVoters demo-3, demo-4: 3 of the voters that stay must work, 2 do: demo-2 must recover first"),
    (wanted(3), "0: leader\n1: voter down=9\n2: voter", "RetireVolume demo-1: demo-1 is not running; it has 300 s to come back"),
    (wanted(3), "0: leader\n1: voter down=9000 failure=Image\n2: voter", "RetireVolume demo-1: demo-1 is not running: Image; a new disk would not help"),
    (wanted(3), "0: leader\n1: voter replace\n2: voter down=9", "RetireVolume demo-1: there is no quorum without demo-1"),
    (wanted(3), "0: leader old\n1: voter old\n2: voter down=9", "RestartPod demo-1: demo-2 must work first"),
    (wanted(3), "0: leader old\n1: voter old\n2: voter old", "RestartPod demo-1: one at a time: demo-2 comes first"),
    (wanted(3), "0: leader old\n1: learner\n2: learner lag=9000", "RestartPod demo-0: too few voters would be left for a quorum; more must join first"),
    (wanted(3), "0: voter\n1: voter\n2: voter", "AwaitLeader : no leader is known"),
    (wanted(5), f"{HEALTHY}\n3: stale unready=2\n4: fresh", "RetireVolume demo-3: it was started just now"),
]  # fmt: skip


@pytest.mark.parametrize(("desired", "picture", "expected"), WAITS)
def test_plan_says_what_a_step_waits_for(desired: Desired, picture: str, expected: str) -> None:
    """Whoever reads the plan learns which step is held up, and by what."""
    assert expected in waiting(plan(desired, draw(picture, desired)))


@pytest.mark.parametrize(("desired", "picture", "actions"), STORIES)
def test_paused_plan_announces_and_does_nothing(desired: Desired, picture: str, actions: list[str]) -> None:
    """Paused: no mutation, and every step that would be done waits for `spec.paused`."""
    paused = msgspec.structs.replace(desired, spec=msgspec.structs.replace(desired.spec, paused=True))
    made = plan(paused, draw(picture, desired))
    assert not made.actions
    assert not actions or any(line.endswith(": spec.paused is true") for line in waiting(made))


@pytest.mark.parametrize(("desired", "picture", "actions"), STORIES)
def test_plan_never_disturbs_a_pod_that_cannot_be_seen(desired: Desired, picture: str, actions: list[str]) -> None:
    """Hide each pod in turn: it is neither restarted nor loses its disk, whatever the story was."""
    del actions
    observed = draw(picture, desired)
    for hidden in observed.slots:
        slots = tuple(
            msgspec.structs.replace(slot, pod=Unknown("not seen")) if slot is hidden else slot for slot in observed.slots
        )
        made = plan(desired, msgspec.structs.replace(observed, slots=slots))
        touched = {line.split()[1] for line in told(made) if line.split()[0] in ("RestartPod", "RetireVolume")}
        assert not touched & {f"demo-{hidden.ordinal}", f"data-demo-{hidden.ordinal}"}


@pytest.mark.parametrize(("desired", "picture", "actions"), STORIES)
def test_plan_from_a_recording_is_the_same(desired: Desired, picture: str, actions: list[str]) -> None:
    """What was observed survives JSON, so that a plan can be made again elsewhere and later."""
    del actions
    observed = draw(picture, desired)
    recorded = msgspec.json.decode(msgspec.json.encode(observed), type=Observed)
    assert plan(desired, recorded) == plan(desired, observed)


def test_plan_draws_the_identity_before_anything_else() -> None:
    """Without a recorded cluster id nothing is started: every disk and certificate carries it."""
    desired = wanted(3)
    nothing = Observed(now=NOW, workload=ABSENT, certificates=())
    assert told(plan(desired, nothing)) == ["EstablishIdentity"]


def test_plan_issues_certificates_before_pods_start() -> None:
    """The authority signs, so it comes first; members cannot start without theirs."""
    desired = wanted(3)
    new = Observed(now=NOW, cluster_id=CLUSTER_ID, workload=ABSENT, certificates=())
    made = plan(desired, new)
    assert told(made) == ["IssueCertificate"] * 5 + ["EnsureWorkload 3"]
    assert [action.name for action in made.actions[:5]] == ["demo", "operator", "demo-0", "demo-1", "demo-2"]  # type: ignore[union-attr]


def test_plan_does_not_bootstrap_again_on_another_disk() -> None:
    """A bootstrap was begun and its disk is gone: it may have succeeded and held data, so a person decides."""
    desired = wanted(3)
    observed = draw("0: fresh\n1: fresh\n2: fresh", desired, bootstrap_node="f00")
    assert told(plan(desired, observed)) == []
    assert "it was begun on a disk that is gone (node f00)" in waiting(plan(desired, observed))[0]


def test_plan_repeats_a_bootstrap_whose_answer_was_lost() -> None:
    """The same empty disk answers: the call did not arrive, and is made again."""
    desired = wanted(3)
    observed = draw("0: fresh\n1: fresh\n2: fresh", desired, bootstrap_node="old-0")
    assert told(plan(desired, observed)) == ["Bootstrap demo-0"]


def test_plan_does_not_bootstrap_what_was_initialized() -> None:
    """All disks are empty, yet the cluster is known to have had data: it is not formed anew over the loss."""
    desired = wanted(3)
    assert told(plan(desired, draw("0: fresh\n1: fresh\n2: fresh", desired, initialized=True))) == []


def test_plan_does_not_bootstrap_beside_a_foreign_disk() -> None:
    """A node of another cluster answers at an ordinal: its disk was put there by mistake."""
    desired = wanted(3)
    observed = draw("0: fresh\n1: fresh\n2: fresh", desired)
    foreign = msgspec.structs.replace(_node(observed, 2), cluster_id="another")
    observed = _with_node(observed, 2, foreign)
    assert told(plan(desired, observed)) == []
    assert waiting(plan(desired, observed)) == ["Bootstrap demo-0: demo-2 runs on a disk of the cluster another"]


@pytest.mark.parametrize("changed", [{"term": 8}, {"configuration": Configuration(index=13, voters=("old-1",))}])
def test_plan_waits_while_a_node_contradicts_the_leader(changed: dict[str, object]) -> None:
    """A higher term, or a newer configuration elsewhere: the leader that was seen may not be the leader."""
    desired = wanted(3)
    observed = draw(FIVE, desired)
    observed = _with_node(observed, 1, msgspec.structs.replace(_node(observed, 1), **changed))
    assert told(plan(desired, observed)) == []


def test_plan_stops_when_another_operator_took_over() -> None:
    """A node has seen a higher fencing epoch than ours: whatever we would do, the other one decides."""
    desired = wanted(5)
    observed = draw(HEALTHY, desired)
    observed = _with_node(observed, 1, msgspec.structs.replace(_node(observed, 1), epoch=2))
    made = plan(desired, observed)
    assert not made.actions
    assert waiting(made) == [
        "EnsureWorkload demo: another operator took over: demo-1 has seen epoch 2, ours is 1",
        "AddLearners demo-3: demo-3 has not been started",
        "AddLearners demo-4: demo-4 has not been started",
        "ChangeVoters demo-3, demo-4: demo-3 must join first",
    ]


def test_plan_grows_a_workload_that_was_shrunk_behind_its_back() -> None:
    """Members above the number of pods are started again, whatever the resource wants meanwhile."""
    desired = wanted(3)
    observed = draw("0: leader\n1: voter\n2: voter down=5\n3: voter\n4: voter down=5", desired)
    observed = msgspec.structs.replace(observed, workload=msgspec.structs.replace(_workload(observed), replicas=4))
    assert told(plan(desired, observed)) == ["EnsureWorkload 5"]


def test_plan_starts_every_disk_that_may_hold_a_member() -> None:
    """The workload is gone and nobody answers: the five disks are started, though only three are wanted now."""
    desired = wanted(3)
    picture = "0: free\n1: free\n2: free\n3: free\n4: free\n5: left"
    observed = draw(picture, desired, initialized=True, workload=ABSENT)
    assert told(plan(desired, observed)) == ["EnsureWorkload 5"]


def test_plan_does_not_touch_a_workload_it_cannot_see() -> None:
    """An unknown workload is neither absent nor of any size."""
    desired = wanted(5)
    observed = draw(HEALTHY, desired, workload=Unknown("the API server timed out"))
    assert told(plan(desired, observed)) == []
    assert "EnsureWorkload : it cannot be seen: the API server timed out" in waiting(plan(desired, observed))


def test_plan_gives_the_workload_new_settings_before_it_restarts_pods() -> None:
    """A pod restarted too early would come back with the settings it had."""
    desired = wanted(3)
    observed = draw("0: leader old\n1: voter old\n2: voter old", desired)
    observed = msgspec.structs.replace(observed, workload=Workload(replicas=3, revision="earlier"))
    made = plan(desired, observed)
    assert told(made) == ["EnsureWorkload 3"]
    assert "RestartPod demo-2: the workload must have the new settings first" in waiting(made)


def test_plan_applies_objects_that_are_missing_or_differ() -> None:
    """Every object is compared by the digest of the manifest it was applied from."""
    desired = wanted(3)
    observed = draw(HEALTHY, desired, objects=(AppliedObject(kind="Service", name="demo", digest="other"),))
    made = plan(desired, observed)
    assert [step.subject for step in made.steps] == [
        "Service demo",
        "Service demo-peers",
        "PodDisruptionBudget demo",
    ]
    done = tuple(
        AppliedObject(kind=action.kind, name=action.name, digest=action.digest)  # type: ignore[union-attr]
        for action in made.actions
    )
    assert plan(desired, msgspec.structs.replace(observed, objects=done)).settled


def test_plan_keeps_a_protected_cluster() -> None:
    """Deletion waits for `spec.deletionProtection`, and the cluster is cared for meanwhile."""
    desired = msgspec.structs.replace(wanted(5, deletion_protection=True), deleting=True)
    made = plan(desired, draw(HEALTHY, desired))
    assert told(made) == ["EnsureWorkload 5"]
    assert waiting(made)[0] == "EnsureWorkload : spec.deletionProtection is true"


@pytest.mark.parametrize(
    ("picture", "retention", "actions"),
    [
        (HEALTHY, "Retain", ["EnsureWorkload 0"]),
        ("0: free\n1: free\n2: free", "Retain", []),
        ("0: free\n1: free\n2: free", "Delete", ["RetireVolume data-demo-0 delete"]),
    ],
)
def test_plan_takes_a_deleted_cluster_down(picture: str, retention: str, actions: list[str]) -> None:
    """Pods go first, all at once; disks follow only where the resource says so."""
    desired = msgspec.structs.replace(wanted(3, storage=Storage(retention=retention)), deleting=True)  # type: ignore[arg-type]
    observed = draw(picture, desired, initialized=True)
    assert told(plan(desired, observed)) == actions


def test_plan_waits_until_the_pods_of_a_deleted_cluster_are_gone() -> None:
    """The workload is at 0 and a pod is still there: its disk is not touched."""
    desired = msgspec.structs.replace(wanted(3, storage=Storage(retention="Delete")), deleting=True)
    observed = draw("0: free\n1: voter stopping", desired, workload=Workload(replicas=0, revision=""))
    made = plan(desired, observed)
    assert not made.actions
    assert waiting(made) == ["EnsureWorkload : demo-1 must stop first"]


def test_settled_plan_has_nothing_left() -> None:
    """A healthy cluster of the wanted size: neither actions nor steps."""
    desired = wanted(3)
    assert plan(desired, draw(HEALTHY, desired)).settled


def _node(observed: Observed, ordinal: int) -> NodeStatus:
    node = observed.slot(ordinal).node
    assert isinstance(node, NodeStatus)
    return node


def _with_node(observed: Observed, ordinal: int, node: NodeStatus) -> Observed:
    slots = (
        msgspec.structs.replace(slot, node=node) if slot.ordinal == ordinal else slot for slot in observed.slots
    )
    return msgspec.structs.replace(observed, slots=tuple(slots))


def _workload(observed: Observed) -> Workload:
    assert isinstance(observed.workload, Workload)
    return observed.workload
