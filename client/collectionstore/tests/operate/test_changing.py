"""The verbs that change: exactly what they write, what they ask first, and when they wait no more."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from collectionstore.kubernetes import names
from collectionstore.operate import goals
from collectionstore.operate.changing import fenced_members
from collectionstore.operate.saving import restored_resource
from collectionstore.operate.waiting import begun, news
from collectionstore.tests.kubernetes.fake_api_server import Request, Response, refusal
from collectionstore.tests.operate.recorded import PATH, Plugin, cluster, condition, member, plugin

NOT_READY = [condition("Ready", "False", "MembersDown", "demo-1 is not ready")]


def annotated(one: Plugin) -> dict[str, str]:
    found: dict[str, str] = one.stored["metadata"].get("annotations") or {}
    return found


@pytest.mark.parametrize(
    ("words", "annotation", "begins"),
    [
        (("restart", "demo"), names.RESTART, "20"),
        (("rotate-authority", "demo"), names.ROTATE_AUTHORITY, "20"),
        (("transfer-leader", "demo", "1"), names.TRANSFER_LEADER, "demo-1 20"),
        (("transfer-leader", "demo"), names.TRANSFER_LEADER, "any 20"),
        (("fence", "demo", "2", "--yes"), names.FENCE, "demo-2"),
        (("approve-update", "demo", "--yes"), names.APPROVE_UPDATE, "r1"),
    ],
)
def test_verb_sets_one_annotation_and_nothing_else(
    tmp_path: Path, words: tuple[str, ...], annotation: str, begins: str
) -> None:
    with plugin(tmp_path) as one:
        one.run(*words, "--no-wait")
        ((path, body),) = one.writes()
    assert path == PATH
    assert list(body) == ["metadata"]
    assert list(body["metadata"]) == ["annotations"]
    assert list(body["metadata"]["annotations"]) == [annotation]
    assert body["metadata"]["annotations"][annotation].startswith(begins)


@pytest.mark.parametrize(("verb", "value"), [("hibernate", True), ("wake", None)])
def test_hibernate_and_wake_set_one_field(tmp_path: Path, verb: str, value: object) -> None:
    with plugin(tmp_path) as one:
        one.run(verb, "demo", "--no-wait", *(["--yes"] if value else []))
        assert one.writes() == [(PATH, {"spec": {"hibernate": value}})]


def test_replace_annotates_the_pod_of_the_member(tmp_path: Path) -> None:
    pod = names.PODS.path("shop", "demo-1")
    with plugin(tmp_path) as one:
        one.fake.objects[pod] = {"metadata": {"name": "demo-1"}}
        one.run("replace", "demo", "1", "--yes", "--no-wait")
        assert one.writes() == [(pod, {"metadata": {"annotations": {names.REPLACE: "true"}}})]


@pytest.mark.parametrize(
    "words",
    [
        ("replace", "demo", "1"),
        ("fence", "demo", "2"),
        ("hibernate", "demo"),
        ("approve-update", "demo"),
    ],
)
def test_what_stops_serving_needs_a_confirmation(tmp_path: Path, words: tuple[str, ...]) -> None:
    """Without a terminal nothing can be asked, so nothing is done."""
    with plugin(tmp_path) as one:
        assert "Confirm with --yes" in one.run(*words, code=2, stdin="y\n")
        assert one.writes() == []


def test_unknown_member_is_refused_with_the_members(tmp_path: Path) -> None:
    with plugin(tmp_path) as one:
        assert "its members: demo-0, demo-1, demo-2" in one.run("replace", "demo", "7", "--yes", code=5)
        assert one.writes() == []


def test_transfer_to_the_leader_does_nothing(tmp_path: Path) -> None:
    with plugin(tmp_path) as one:
        assert "demo-0 leads already" in one.run("transfer-leader", "demo", "0")
        assert one.writes() == []


def test_fence_that_costs_the_quorum_is_refused(tmp_path: Path) -> None:
    """Also together with members that are fenced, or down, already."""
    down = cluster(members=[member(0), member(1, ready=False), member(2)])
    fenced = cluster()
    fenced["metadata"]["annotations"] = {names.FENCE: "demo-1"}
    for found, words in ((cluster(), ("1", "2")), (down, ("2",)), (fenced, ("2",))):
        with plugin(tmp_path, found) as one:
            assert "a quorum needs 2" in one.run("fence", "demo", *words, "--yes", code=1)
            assert one.writes() == []


def test_fence_adds_to_the_fenced_and_unfence_takes_away(tmp_path: Path) -> None:
    found = cluster(configuration={"voters": [f"demo-{one}" for one in range(5)]})
    found["status"]["members"] = [member(one) for one in range(5)]
    with plugin(tmp_path, found) as one:
        one.run("fence", "demo", "3", "--yes", "--no-wait")
        one.run("fence", "demo", "4", "3", "--yes", "--no-wait")
        assert annotated(one)[names.FENCE] == "demo-3,demo-4"
        one.run("unfence", "demo", "3", "--no-wait")
        assert annotated(one)[names.FENCE] == "demo-4"
        one.run("unfence", "demo", "--no-wait")
        assert names.FENCE not in annotated(one)
        assert "nothing to do" in one.run("unfence", "demo")
    assert fenced_members({"metadata": {"annotations": {names.FENCE: " a , ,b"}}}) == ("a", "b")


class Rival:
    """Another user, who changes the fence between a command's read and its write; every write is of one version."""

    def __init__(self, one: Plugin, *fences: str) -> None:
        self._one, self._fences = one, list(fences)
        one.stored["metadata"]["resourceVersion"] = "1"
        one.fake.behave = self._answer

    def _answer(self, request: Request) -> Response | None:
        if request.method != "PATCH":
            return None
        metadata = self._one.stored["metadata"]
        if self._fences:
            metadata.setdefault("annotations", {})[names.FENCE] = self._fences.pop(0)
            metadata["resourceVersion"] = str(int(metadata["resourceVersion"]) + 1)
        if request.body["metadata"]["resourceVersion"] != metadata["resourceVersion"]:
            return refusal(409, "Conflict", "the object has been modified")
        return None


def of_five() -> dict[str, Any]:
    found = cluster(configuration={"voters": [f"demo-{one}" for one in range(5)]})
    found["status"]["members"] = [member(one) for one in range(5)]
    return found


def test_two_fences_at_once_are_both_kept(tmp_path: Path) -> None:
    with plugin(tmp_path, of_five()) as one:
        Rival(one, "demo-4")
        one.run("fence", "demo", "3", "--yes", "--no-wait")
        assert annotated(one)[names.FENCE] == "demo-4,demo-3"
        Rival(one, "demo-4,demo-3,demo-2")
        one.run("unfence", "demo", "3", "--no-wait")
        assert annotated(one)[names.FENCE] == "demo-4,demo-2"


def test_two_fences_at_once_do_not_cost_the_quorum(tmp_path: Path) -> None:
    with plugin(tmp_path) as one:
        Rival(one, "demo-1")
        assert "a quorum needs 2" in one.run("fence", "demo", "2", "--yes", "--no-wait", code=1)
        assert annotated(one)[names.FENCE] == "demo-1"


def test_fence_between_changes_without_end_is_an_error(tmp_path: Path) -> None:
    with plugin(tmp_path, of_five()) as one:
        Rival(one, *["demo-4"] * 9)
        output = one.run("fence", "demo", "3", "--yes", "--no-wait", code=1)
        assert "changed by another at the same time" in output
        assert annotated(one)[names.FENCE] == "demo-4"


def test_invalid_change_has_exit_code_3(tmp_path: Path) -> None:
    def respond(request: Request) -> Response | None:
        return refusal(422, "Invalid", 'unknown field "spec.hibernate"') if request.method == "PATCH" else None

    with plugin(tmp_path) as one:
        one.fake.behave = respond
        assert 'unknown field "spec.hibernate"' in one.run("hibernate", "demo", "--yes", code=3)


def test_wait_ends_with_the_goal_and_shows_what_happened(tmp_path: Path) -> None:
    """The restart is over when all members run another revision than before."""
    looks: list[int] = []

    with plugin(tmp_path) as one:

        def respond(request: Request) -> Response | None:
            if request.method == "GET" and one.writes():
                looks.append(1)
                if len(looks) == 1:
                    plan = [{"step": "RestartPod", "subject": "demo-1", "reason": "another revision"}]
                    return Response(200, cluster(plan=plan, conditions=NOT_READY))
                return Response(200, cluster(revision="r2", leader="demo-1", term=3))
            return None

        one.fake.behave = respond
        output = one.run("restart", "demo", "--timeout", "30")
    assert "restart requested" in output
    assert "→ RestartPod demo-1: another revision" in output
    assert "demo-1 leads in term 3" in output
    assert "demo  Ready  3/3 members" in output


def test_step_is_shown_when_it_begins_and_not_when_it_leaves_the_plan() -> None:
    """A step that is blocked has not begun, and one that is gone may have been taken back."""
    blocked = {"step": "RestartPod", "subject": "demo-1", "reason": "r", "blockedBy": "no quorum"}
    open_step = {**blocked, "blockedBy": ""}
    assert list(begun(cluster(), cluster(plan=[blocked]))) == []
    assert list(begun(cluster(plan=[blocked]), cluster(plan=[open_step]))) == ["RestartPod demo-1: r"]
    assert list(begun(cluster(plan=[open_step]), cluster(plan=[open_step]))) == []
    assert list(begun(cluster(plan=[open_step]), cluster())) == []
    assert list(news(cluster(plan=[open_step]), cluster())) == []


def test_wait_outlives_a_server_that_is_away(tmp_path: Path) -> None:
    with plugin(tmp_path) as one:
        looks: list[int] = []

        def respond(request: Request) -> Response | None:
            if request.method != "GET" or not one.writes():
                return None
            looks.append(1)
            return refusal(403, "Forbidden", "not now") if len(looks) < 3 else Response(200, cluster(revision="r2"))

        one.fake.behave = respond
        assert "Ready  3/3 members" in one.run("restart", "demo", "--timeout", "30")
        looks.clear()
        one.fake.behave = lambda request: refusal(404, "NotFound", "gone") if request.method == "GET" else None
        assert "gone" in one.run("restart", "demo", "--timeout", "30", code=5)


def test_wait_that_ends_too_late_says_what_it_waits_for(tmp_path: Path) -> None:
    step = {"step": "RestartPod", "subject": "demo-1", "reason": "another revision", "blockedBy": "no quorum"}
    with plugin(tmp_path, cluster(plan=[step])) as one:
        output = one.run("restart", "demo", "--timeout", "0.2", code=6)
    assert "timed out after 0.2 s waiting for the restart. The operator goes on." in output
    assert "RestartPod demo-1: another revision; blocked: no quorum" in output


@pytest.mark.parametrize(
    ("goal", "not_yet", "done"),
    [
        (goals.restarted(cluster()), cluster(), cluster(revision="r2")),
        (goals.replaced(cluster(), "demo-1"), cluster(), cluster(members=[member(0), member(1, nodeID="f" * 16)])),
        (goals.leads(cluster(), "demo-1"), cluster(), cluster(leader="demo-1")),
        (goals.leads(cluster(), ""), cluster(leader=""), cluster(leader="demo-2")),
        (goals.rotated(cluster()), cluster(), cluster(authority={"phase": "Steady", "key": "cd"})),
        (goals.fenced(("demo-1",)), cluster(), cluster(members=[member(0), member(1, ready=False)])),
        (goals.working(("demo-1",)), cluster(members=[member(1, ready=False)]), cluster()),
        (goals.asleep, cluster(), cluster(replicas=0)),
        (goals.recovered, cluster(recovery={"phase": "Forming"}), cluster(recovery={"phase": "Finished"})),
        (goals.ready, cluster(conditions=NOT_READY), cluster()),
        (goals.ready, cluster(observedGeneration=0), cluster()),
        (goals.ready, cluster(plan=[{"step": "X"}]), cluster()),
    ],
)
def test_goal_holds_only_when_it_is_reached(
    goal: Callable[[dict[str, Any]], bool], not_yet: dict[str, Any], done: dict[str, Any]
) -> None:
    assert not goal(not_yet)
    assert goal(done)


def backup_object(kind: str, **status: Any) -> dict[str, Any]:
    return {
        "kind": names.BACKUP_KIND,
        "metadata": {"name": "b1"},
        "spec": {"clusterName": "demo", "repository": {"url": "s3://b/demo"}},
        "status": {"conditions": [condition(kind, "True", "Because", "the store is full")], **status},
    }


def test_backup_creates_a_resource_without_credentials(tmp_path: Path) -> None:
    options = ("--repository", "s3://b/demo", "--credentials-secret", "store", "--option", "endpoint=https://s:9000")
    with plugin(tmp_path) as one:
        one.run("backup", "demo", *options, "--encryption-secret", "key", "--name", "b1", "--no-wait")
        ((path, body),) = one.writes()
    assert path == names.BACKUPS.path("shop")
    assert body["spec"] == {
        "clusterName": "demo",
        "repository": {
            "url": "s3://b/demo",
            "options": {"endpoint": "https://s:9000"},
            "credentialsSecretName": "store",
            "encryptionKey": {"secretName": "key"},
        },
    }


def test_backup_waits_for_its_end(tmp_path: Path) -> None:
    complete = backup_object("Complete", backupID="x1", member="demo-2", revision=9, sizeBytes=3 << 20)
    for found, code, told in (
        (complete, 0, "b1 is complete: backup x1 of demo-2, revision 9, 3.0 MiB"),
        (backup_object("Failed"), 1, "the backup b1 failed: Because: the store is full"),
    ):

        def respond(request: Request, found: dict[str, Any] = found) -> Response | None:
            return Response(200, found) if request.path.endswith("/b1") else None

        with plugin(tmp_path) as one:
            one.fake.behave = respond
            assert told in one.run("backup", "demo", "--repository", "s3://b/demo", "--name", "b1", code=code)


def test_backup_of_a_cluster_that_does_not_exist_is_refused(tmp_path: Path) -> None:
    with plugin(tmp_path) as one:
        one.run("backup", "absent", "--repository", "s3://b/demo", code=5)
        assert one.writes() == []


def test_restore_makes_a_new_resource_and_never_touches_one_that_exists(tmp_path: Path) -> None:
    made = restored_resource("copy", {"metadata": {"name": "copy"}, "spec": {"replicas": 1}}, {"backup": "x1"})
    assert made["spec"] == {"replicas": 1, "bootstrap": {"restore": {"backup": "x1"}}}
    with plugin(tmp_path) as one:
        one.fake.objects[names.BACKUPS.path("shop", "b1")] = backup_object("Complete", backupID="x1")
        one.run("restore", "copy", "--from-backup", "b1", "--no-wait")
        ((path, body),) = one.writes()
        assert path == names.CLUSTERS.path("shop")
        assert body["spec"]["bootstrap"]["restore"] == {"repository": {"url": "s3://b/demo"}, "backup": "x1"}
        one.fake.behave = lambda request: (
            refusal(409, "AlreadyExists", "demo already exists") if request.method == "POST" else None
        )
        assert "already exists" in one.run("restore", "demo", "--from-backup", "b1", code=1)


RECOVERY = {
    "phase": "Offered",
    "nonce": "00c0ffee00c0ffee",
    "message": "2 of 3 disks are gone",
    "lost": ["demo-0", "demo-2"],
    "survivors": [{"name": "demo-1", "known": True, "lastLogTerm": 3, "lastIndex": 90, "revision": 71}],
}


def test_recover_shows_the_survivors_and_changes_nothing(tmp_path: Path) -> None:
    with plugin(tmp_path, cluster(recovery=RECOVERY)) as one:
        output = one.run("recover", "demo")
        assert one.writes() == []
    for part in ("2 of 3 disks are gone", "demo-0, demo-2", "demo-1    yes", "71", "Nonce: 00c0ffee00c0ffee"):
        assert part in output


def test_recover_sends_the_nonce_that_was_looked_at(tmp_path: Path) -> None:
    with plugin(tmp_path, cluster(recovery=RECOVERY)) as one:
        one.run("recover", "demo", "--survivor", "1", code=2)
        assert one.writes() == []
        one.run("recover", "demo", "--survivor", "1", "--yes", "--no-wait")
        assert one.writes() == [(PATH, {"spec": {"recovery": {"nonce": RECOVERY["nonce"], "survivor": "demo-1"}}})]
        assert "not among the survivors" in one.run("recover", "demo", "--survivor", "2", "--yes", code=1)


@pytest.mark.parametrize("phase", ["", "Finished"])
def test_recover_without_a_lost_quorum_is_refused(tmp_path: Path, phase: str) -> None:
    """Also after a recovery, whose nonce the status keeps."""
    with plugin(tmp_path, cluster(recovery={**RECOVERY, "phase": phase} if phase else {})) as one:
        assert "nothing to recover" in one.run("recover", "demo", code=1)
        assert "Quorum lost" not in one.run("status", "demo")


@pytest.mark.parametrize("phase", ["Waiting", "Stopping", "SettingAside", "Forming"])
def test_recover_shows_how_far_it_is_and_asks_for_nothing_twice(tmp_path: Path, phase: str) -> None:
    found = {**RECOVERY, "phase": phase, "waitingFor": "demo-1 to stop"}
    with plugin(tmp_path, cluster(recovery=found)) as one:
        assert "demo-1 to stop" in one.run("recover", "demo")
        assert "Quorum lost" in one.run("status", "demo")
        assert phase in one.run("recover", "demo", "--survivor", "1", "--yes", code=1)
        assert one.writes() == []


OFFER = {
    "phase": "Offered",
    "nonce": "00c0ffee00c0ffee",
    "backup": "the backup latest of s3://b/demo",
    "message": "50 revisions would be lost",
}


def restorable(**told: str) -> dict[str, Any]:
    found = cluster(restore={**OFFER, **told})
    found["spec"]["restore"] = {"repository": {"url": "s3://b/demo"}}
    return found


def test_restore_in_place_shows_what_would_be_lost_and_acknowledges_nothing(tmp_path: Path) -> None:
    with plugin(tmp_path, restorable()) as one:
        output = one.run("restore-in-place", "demo", "--repository", "s3://b/demo", "--to", "end")
        ((path, change),) = one.writes()
    assert path == PATH
    asked = {"repository": {"url": "s3://b/demo"}, "backup": "latest", "to": "end"}
    assert change == {"spec": {"restore": {**asked, "oldVolumes": None, "sourceCluster": None, "nonce": None}}}
    for part in ("Offered: 50 revisions would be lost", "restore-in-place demo --acknowledge 00c0ffee00c0ffee"):
        assert part in output


def test_restore_in_place_acknowledges_only_the_nonce_that_is_offered(tmp_path: Path) -> None:
    with plugin(tmp_path, restorable()) as one:
        assert "is not the nonce" in one.run("restore-in-place", "demo", "--acknowledge", "f" * 16, "--yes", code=1)
        one.run("restore-in-place", "demo", "--acknowledge", OFFER["nonce"], code=2)
        assert one.writes() == []
        one.run("restore-in-place", "demo", "--acknowledge", OFFER["nonce"], "--yes", "--no-wait")
        assert one.writes() == [(PATH, {"spec": {"restore": {"nonce": OFFER["nonce"]}}})]


@pytest.mark.parametrize("phase", ["Blocked", "Halting", "Emptying", "Finished"])
def test_restore_in_place_acknowledges_nothing_that_is_not_offered(tmp_path: Path, phase: str) -> None:
    with plugin(tmp_path, restorable(phase=phase)) as one:
        words = ("restore-in-place", "demo", "--acknowledge", OFFER["nonce"], "--yes")
        assert "no restore is offered now" in one.run(*words, code=1)
        assert one.writes() == []


def test_restore_in_place_needs_one_source_and_a_cluster_on_kubernetes(tmp_path: Path) -> None:
    with plugin(tmp_path, restorable()) as one:
        assert "one of --from-backup and --repository" in one.run("restore-in-place", "demo", code=2)
        words = ("restore-in-place", "demo", "--acknowledge", OFFER["nonce"], "--repository", "s3://b/demo")
        assert "was named before" in one.run(*words, code=2)
        assert one.writes() == []


def test_the_goal_of_a_restore_is_the_one_that_was_acknowledged() -> None:
    done = goals.restored(OFFER["nonce"])
    assert done(restorable(phase="Finished"))
    assert not done(restorable(phase="Finished", nonce="f" * 16))
    assert not done(restorable(phase="Restoring"))
