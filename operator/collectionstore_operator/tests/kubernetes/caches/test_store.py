"""The objects of a watch: what is kept, what counts as a change, and which order of events is believed."""

from __future__ import annotations

from typing import Any

import pytest

from collectionstore_operator.kubernetes.api import Kind
from collectionstore_operator.kubernetes.api.api_errors import Expired, Unavailable
from collectionstore_operator.kubernetes.caches.events import LINE_BYTES_MAX, Lines
from collectionstore_operator.kubernetes.caches.store import NotComparable, Store
from collectionstore_operator.kubernetes.caches.watched import WATCHED, group_asked_for, watches
from collectionstore_operator.resource import labels

Body = dict[str, Any]


def made() -> Store:
    return Store(trim=lambda body: body, group=lambda body: str(body.get("group", "")))


def thing(name: str, version: int, *, uid: str = "", **fields: Any) -> Body:
    metadata = {"namespace": "shop", "name": name, "uid": uid or f"uid-{name}", "resourceVersion": str(version)}
    return {"metadata": metadata, **fields}


def test_list_shows_what_is_gone_and_what_has_changed() -> None:
    store = made()
    store.replace([thing("a", 1), thing("b", 2), thing("c", 3)], "3")
    changed = store.replace([thing("b", 2), thing("c", 9, spec=1), thing("d", 8)], "9")
    assert [one["metadata"]["name"] for one in changed] == ["a", "c", "d"]
    assert store.find("shop", "a") is None
    assert store.version == 9


def test_object_created_again_under_its_name_is_a_change() -> None:
    store = made()
    store.replace([thing("a", 1, uid="first")], "1")
    assert store.replace([thing("a", 5, uid="second")], "5")
    assert [*store.uids("shop", "")] == ["second"]


def test_event_that_the_list_already_had_changes_nothing() -> None:
    """A watch that is resumed, or a list between two events: the newer one stays."""
    store = made()
    store.replace([thing("a", 7, spec="new")], "7")
    assert store.put(thing("a", 5, spec="old")) is None
    found = store.find("shop", "a")
    assert found is not None
    assert found["spec"] == "new"
    assert store.version == 7


def test_late_deletion_of_an_earlier_object_does_not_remove_its_successor() -> None:
    store = made()
    store.replace([], "1")
    store.put(thing("a", 9, uid="second"))
    assert store.drop(thing("a", 6, uid="first")) is None
    assert store.find("shop", "a") is not None


def test_change_of_the_version_alone_is_none() -> None:
    store = made()
    store.replace([thing("a", 1, spec=1)], "1")
    assert store.put(thing("a", 2, spec=1)) is None
    assert store.put(thing("a", 3, spec=2)) is not None
    found = store.find("shop", "a")
    assert found is not None
    assert found["metadata"]["resourceVersion"] == "3"


def test_objects_move_between_groups() -> None:
    store = made()
    store.replace([thing("b", 1, group="x"), thing("a", 2, group="x")], "2")
    assert [one["metadata"]["name"] for one in store.find_group("shop", "x")] == ["a", "b"]
    store.put(thing("a", 3, group="y"))
    assert [one["metadata"]["name"] for one in store.find_group("shop", "x")] == ["b"]
    assert [one["metadata"]["name"] for one in store.find_group("shop", "y")] == ["a"]
    store.drop(thing("a", 4, group="y"))
    assert store.find_group("shop", "y") == []


def test_readers_cannot_change_what_is_kept() -> None:
    store = made()
    store.replace([thing("a", 1, spec={"x": 1})], "1")
    found = store.find("shop", "a")
    assert found is not None
    found["spec"]["x"] = 2
    again = store.find("shop", "a")
    assert again is not None
    assert again["spec"] == {"x": 1}


@pytest.mark.parametrize("version", ["", "abc", "1.5", "-1", "²"])
def test_versions_that_are_no_numbers_are_refused(version: str) -> None:
    """Which of two is later is not known then, and nothing may be cached."""
    store = made()
    with pytest.raises(NotComparable):
        store.replace([], version)
    with pytest.raises(NotComparable):
        store.reach(version)
    assert store.version == -1


def test_chunks_are_cut_into_events_wherever_they_break() -> None:
    text = b'{"type":"ADDED","object":{"metadata":{"name":"a"}}}\n\n{"type":"DELETED","object":{"metadata":{}}}\n'
    for cut in range(len(text)):
        lines = Lines()
        found = [*lines.feed(text[:cut]), *lines.feed(text[cut:])]
        assert [one.kind for one in found] == ["ADDED", "DELETED"]


def test_expired_watch_is_told_from_other_errors() -> None:
    def sent(code: int) -> bytes:
        return b'{"type":"ERROR","object":{"kind":"Status","code":%d,"message":"no"}}\n' % code

    with pytest.raises(Expired):
        list(Lines().feed(sent(410)))
    with pytest.raises(Unavailable):
        list(Lines().feed(sent(500)))


@pytest.mark.parametrize("line", [b"<html>\n", b'{"type":"ADDED"}\n', b'{"type":1,"object":{}}\n'])
def test_other_answers_than_events_break_the_watch(line: bytes) -> None:
    with pytest.raises(Unavailable, match="something else than an event"):
        list(Lines().feed(line))


def test_endless_line_is_not_collected_for_ever() -> None:
    lines, chunk = Lines(), b"x" * (1 << 20)
    for _ in range(LINE_BYTES_MAX // len(chunk)):
        list(lines.feed(chunk))
    with pytest.raises(Unavailable, match="longer than"):
        list(lines.feed(chunk))


def test_pods_keep_only_what_is_read_of_them() -> None:
    pod = next(one for one in WATCHED if one.kind is Kind.POD)
    claim = {"name": "data", "persistentVolumeClaim": {"claimName": "data-demo-0"}}
    spec = {"nodeName": "n", "containers": [{"env": ["much"]}], "volumes": [{"name": "x"}, claim]}
    body = thing("demo-0", 1, spec=spec, status={"podIP": "1.2.3.4", "qosClass": "Burstable"})
    body["metadata"] |= {"managedFields": ["much"], "labels": labels.object_labels("demo")}
    kept = pod.trim(body)
    assert kept["spec"] == {"nodeName": "n", "volumes": [claim]}
    assert kept["status"] == {"podIP": "1.2.3.4"}
    assert "managedFields" not in kept["metadata"]
    assert pod.group(body) == "demo"
    assert [*pod.wakes(body)] == [("shop", "demo")]


def test_heartbeats_of_machines_are_no_change() -> None:
    machine = next(one for one in WATCHED if one.kind is Kind.NODE)
    store = Store(trim=machine.trim, group=machine.group)
    ready = {"type": "Ready", "status": "True", "lastHeartbeatTime": "1"}
    store.replace(
        [{"metadata": {"name": "n", "uid": "u", "resourceVersion": "1"}, "status": {"conditions": [ready]}}], "1"
    )
    beat = {
        "metadata": {"name": "n", "uid": "u", "resourceVersion": "2"},
        "status": {"conditions": [{**ready, "lastHeartbeatTime": "2"}]},
    }
    assert store.put(beat) is None
    lost = {**ready, "status": "Unknown"}
    assert store.put({"metadata": {"name": "n", "uid": "u", "resourceVersion": "3"}, "status": {"conditions": [lost]}})


def test_only_lists_of_one_cluster_or_of_all_machines_are_answered_from_a_cache() -> None:
    assert group_asked_for(Kind.POD, labels.selector("demo"), None) == "demo"
    assert group_asked_for(Kind.NODE, None, None) == ""
    assert group_asked_for(Kind.POD, None, None) is None
    assert group_asked_for(Kind.POD, {**labels.selector("demo"), "x": "y"}, None) is None
    assert group_asked_for(Kind.POD, labels.selector("demo"), {"spec.nodeName": "n"}) is None


def test_selector_of_the_watch_is_common_to_all_clusters() -> None:
    """What the selector of any cluster finds, the watch has: no pod that a list shows is missing in the cache."""
    for one in WATCHED:
        assert one.selector.items() <= labels.selector("any").items()


def test_watches_of_namespaces_are_counted_for_their_connections() -> None:
    """Cluster-scoped kinds are watched once, however many namespaces there are."""
    assert watches(0) == watches(1) == len(WATCHED)
    assert watches(20) == 20 * (len(WATCHED) - 2) + 2
