"""What applying a manifest makes of a resource, and how the difference is told."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from collectionstore.operate.changes import LAST_APPLIED, applied, merged, patched, resource_differences

LEAVES = st.one_of(st.integers(0, 3), st.sampled_from(["a", "b"]), st.lists(st.integers(0, 2), max_size=2))
OBJECTS = st.recursive(
    st.dictionaries(st.sampled_from("xyz"), LEAVES, max_size=3),
    lambda inner: st.dictionaries(st.sampled_from("xyz"), st.one_of(LEAVES, inner), max_size=3),
    max_leaves=8,
)


def resource(spec: dict[str, Any], last: dict[str, Any] | None = None) -> dict[str, Any]:
    annotations = {LAST_APPLIED: json.dumps({"spec": last})} if last is not None else {}
    return {"metadata": {"name": "demo", "generation": 1, "annotations": annotations}, "spec": spec}


@given(OBJECTS)
def test_manifest_that_is_there_already_changes_nothing(spec: dict[str, Any]) -> None:
    live = resource(spec, spec)
    now = applied(live, {"metadata": {"name": "demo"}, "spec": spec})
    assert now["spec"] == spec
    assert resource_differences(live, now) == []


@given(OBJECTS, OBJECTS)
def test_what_the_manifest_says_is_so_afterwards(live: dict[str, Any], spec: dict[str, Any]) -> None:
    def holds(found: Any, said: Any) -> bool:
        if isinstance(said, dict):
            return isinstance(found, dict) and all(key in found and holds(found[key], said[key]) for key in said)
        return bool(found == said)

    assert holds(merged(live, {}, spec), spec)


@given(OBJECTS, OBJECTS)
def test_fields_that_others_set_stay(live: dict[str, Any], spec: dict[str, Any]) -> None:
    found = merged(live, {}, spec)
    assert all(found[key] == live[key] for key in live if key not in spec)


def test_field_that_the_manifest_no_longer_has_is_removed() -> None:
    """Only if the manifest applied last had it: a scale by hand stays."""
    live = resource({"replicas": 5, "paused": True, "image": "x"}, {"paused": True})
    assert applied(live, {"metadata": {"name": "demo"}, "spec": {"image": "x"}})["spec"] == {
        "replicas": 5,
        "image": "x",
    }


def test_damaged_last_configuration_removes_nothing() -> None:
    live = {"metadata": {"name": "demo", "annotations": {LAST_APPLIED: "{"}}, "spec": {"replicas": 5}}
    assert applied(live, {"metadata": {"name": "demo"}, "spec": {}})["spec"] == {"replicas": 5}


def test_new_resource_is_the_manifest() -> None:
    made = applied(None, {"metadata": {"name": "demo"}, "spec": {"replicas": 3}})
    assert (made["metadata"], made["spec"]) == ({"name": "demo", "generation": 1}, {"replicas": 3})


def test_differences_name_each_field_with_both_values() -> None:
    old = {"metadata": {"labels": {"a": "1"}}, "spec": {"replicas": 3, "tls": {"client": "Required"}}}
    new = {"metadata": {"labels": {"a": "2"}}, "spec": {"replicas": 5, "tls": {}, "pod": {"labels": ["x"]}}}
    assert resource_differences(old, new) == [
        "metadata.labels.a: 1 → 2",
        "spec.replicas: 3 → 5",
        "spec.tls.client: Required → (default)",
        'spec.pod.labels: (default) → ["x"]',
    ]


def test_merge_patch_is_that_of_the_rfc() -> None:
    """The examples of RFC 7396, appendix A, as far as they are objects."""
    for target, patch, result in (
        ({"a": "b"}, {"a": "c"}, {"a": "c"}),
        ({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}),
        ({"a": "b"}, {"a": None}, {}),
        ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
        ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
        ({"a": [{"b": "c"}]}, {"a": [1]}, {"a": [1]}),
        ({"e": None}, {"a": 1}, {"e": None, "a": 1}),
        ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
    ):
        assert patched(target, patch) == result
