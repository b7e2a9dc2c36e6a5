"""The vocabulary of scenarios: settled clusters, members, and the chart's image settings."""

from __future__ import annotations

from typing import Any

import pytest

from collectionstore_e2e.product.installation import image_settings, samples
from collectionstore_e2e.product.store import condition_text, is_settled, member_ids


def resource(**status: Any) -> dict[str, Any]:
    conditions = {"Ready": "True", "Progressing": "False", "Degraded": "False", "MembersUpdated": "True"}
    given = status.pop("conditions", {})
    usual: dict[str, Any] = {
        "observedGeneration": 4,
        "readyMembers": 3,
        "configuration": {"voters": ["demo-0", "demo-1", "demo-2"]},
        "conditions": [
            {"type": kind, "status": value, "reason": "Some", "message": "a sentence"}
            for kind, value in {**conditions, **given}.items()
        ],
    }
    return {"metadata": {"name": "demo", "generation": 4}, "spec": {"replicas": 3}, "status": {**usual, **status}}


def test_a_cluster_is_settled_when_its_status_is_of_the_present_spec_and_all_is_done() -> None:
    """All of it together; each part alone is not enough."""
    assert is_settled(resource(), 3)


@pytest.mark.parametrize(
    "status",
    [
        {"observedGeneration": 3},
        {"readyMembers": 2},
        {"configuration": {"voters": ["demo-0", "demo-1", "demo-2", "demo-3"]}},
        {"conditions": {"Ready": "False"}},
        {"conditions": {"Progressing": "True"}},
        {"conditions": {"Degraded": "Unknown"}},
        {"conditions": {"MembersUpdated": "False"}},
    ],
)
def test_a_cluster_is_not_settled(status: dict[str, Any]) -> None:
    """A status of an older generation, a member that lacks or is too many, and whatever a condition says."""
    assert not is_settled(resource(**status), 3)


def test_a_resource_that_wants_another_size_is_not_settled_at_this_one() -> None:
    """Right after kubectl scale the status may still be that of the size before."""
    assert not is_settled(resource(), 5)


def test_members_are_those_with_a_part_in_the_cluster() -> None:
    """A pod that has not joined, and a disk that was kept, are listed in the status and no members."""
    members = [
        {"name": "demo-0", "nodeID": "a", "role": "Leader"},
        {"name": "demo-3", "nodeID": "b", "role": "Learner"},
        {"name": "demo-4", "nodeID": "c", "role": "None"},
        {"name": "demo-5", "nodeID": "", "role": "Unknown"},
    ]
    assert member_ids(resource(members=members)) == {"demo-0": "a", "demo-3": "b"}


def test_a_condition_is_told_with_reason_and_message() -> None:
    """One that is not there says nothing."""
    assert condition_text(resource(), "Ready") == "True Some: a sentence"
    assert condition_text(resource(), "Paused") == ""


@pytest.mark.parametrize(
    ("image", "settings"),
    [
        ("localhost/operator:dev", ["repository=localhost/operator", "tag=dev"]),
        ("registry:5000/operator:1.2", ["repository=registry:5000/operator", "tag=1.2"]),
        ("registry:5000/operator", ["repository=registry:5000/operator"]),
        ("registry/operator@sha256:ab", ["repository=registry/operator", "digest=sha256:ab"]),
    ],
)
def test_an_image_is_given_to_the_chart_in_its_parts(image: str, settings: list[str]) -> None:
    """A port is no tag."""
    assert image_settings(image) == [f"--set=image.{one}" for one in settings]


def test_samples_are_those_of_one_series_by_their_labels() -> None:
    """Not those of a series whose name begins alike, nor comments."""
    text = """# TYPE calls_total counter
calls_total{code="200",method="GET"} 4.0
calls_total{code="0",method="PUT"} 1e+01
calls_totals{code="200"} 7.0
other 1.0
"""
    assert samples(text, "calls_total") == {'code="200",method="GET"': 4.0, 'code="0",method="PUT"': 10.0}
