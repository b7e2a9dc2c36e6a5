"""Parsing of backups and schedules: the same rules as in the definition, with every error."""

from __future__ import annotations

from typing import Any

import pytest

from collectionstore_operator.crd.backups import RESOURCES, definition
from collectionstore_operator.errors import InvalidResource
from collectionstore_operator.resource.backups.desired import parse_backup, parse_schedule


def resource(**spec: Any) -> dict[str, Any]:
    given = {"clusterName": "demo", "repository": {"url": "s3://bucket/path"}} | spec
    return {"metadata": {"name": "one", "namespace": "shop"}, "spec": given}


def problems(**spec: Any) -> str:
    with pytest.raises(InvalidResource) as found:
        parse_backup(resource(**spec))
    return str(found.value)


def test_defaults_are_those_that_the_descriptions_say() -> None:
    spec = parse_backup(resource()).spec
    assert (spec.deadline_seconds, spec.deletion_policy, spec.service_account_name) == (21_600, "Retain", "default")
    scheduled = parse_schedule(resource(schedule="0 3 * * *", retention={})).spec
    assert scheduled.retention is not None
    assert (scheduled.retention.keep_last, scheduled.retention.keep_within, scheduled.time_zone) == (7, "0s", "UTC")


@pytest.mark.parametrize(
    ("spec", "where"),
    [
        ({"clusterName": "Demo"}, "spec.clusterName"),
        ({"clusterName": None}, "spec.clusterName"),
        ({"repository": {"url": "ftp://x"}}, "spec.repository.url"),
        ({"repository": {"url": "s3://b?x=1"}}, "spec.repository.url"),
        ({"repository": {"url": "s3://user:password@b/x"}}, "spec.repository.url"),
        ({"repository": {"url": "file:///repository"}}, "spec.repository.claimName"),
        ({"repository": {"url": "s3://b", "claimName": "c"}}, "spec.repository.claimName"),
        ({"repository": {"url": "file:///etc", "claimName": "c"}}, "spec.repository.url"),
        ({"repository": {"url": "file:///repository/../etc", "claimName": "c"}}, "spec.repository.url"),
        ({"repository": {"url": "file:///repositoryother", "claimName": "c"}}, "spec.repository.url"),
        ({"repository": {"url": "s3://b", "options": {"End Point": "x"}}}, "spec.repository.options"),
        ({"repository": {"url": "s3://b", "options": {"secret_access_key": "hush"}}}, "spec.repository.options"),
        ({"repository": {"url": "s3://b", "options": {"proxy": "http://u:hush@p"}}}, "spec.repository.options"),
        ({"deadlineSeconds": 59}, "spec.deadlineSeconds"),
        ({"deadlineSeconds": 86_401}, "spec.deadlineSeconds"),
        ({"maxBytesPerSecond": (2 << 20) - 1}, "spec.maxBytesPerSecond"),
        ({"maxBytesPerSecond": (1 << 40) + 1}, "spec.maxBytesPerSecond"),
        ({"deletionPolicy": "Keep"}, "spec.deletionPolicy"),
        ({"resources": {"requests": {"memory": "2Gi"}, "limits": {"memory": "1Gi"}}}, "spec.resources.limits"),
        ({"cluster": "demo"}, "did you mean clusterName"),
    ],
)
def test_what_is_wrong_is_named_with_what_is_allowed(spec: dict[str, Any], where: str) -> None:
    text = problems(**spec)
    assert where in text
    assert "allowed: " in text
    assert "hush" not in text


def test_rule_newer_than_a_backup_does_not_keep_it_from_being_deleted() -> None:
    body = resource(repository={"url": "s3://b", "options": {"token": "x"}})
    with pytest.raises(InvalidResource):
        parse_backup(body)
    body["metadata"]["deletionTimestamp"] = "2026-01-02T03:04:05Z"
    assert parse_backup(body).deleting


@pytest.mark.parametrize("expression", ["* * * *", "@daily", "", "0 3 * * * *", "0 3  * * *"])
def test_schedule_has_five_fields(expression: str) -> None:
    with pytest.raises(InvalidResource, match="five fields"):
        parse_schedule(resource(schedule=expression))


def test_definitions_have_no_defaults() -> None:
    """An operator of another version may have others."""

    def defaults(value: Any, path: str) -> list[str]:
        if isinstance(value, list):
            return [one for item in value for one in defaults(item, path)]
        if not isinstance(value, dict):
            return []
        found = [path] if "default" in value and "type" in value else []
        return found + [one for key, below in value.items() for one in defaults(below, f"{path}.{key}")]

    for one in RESOURCES:
        assert defaults(definition(one), one.kind) == []


def test_patterns_repeat_no_more_often_than_an_api_server_allows() -> None:
    """Go's regular expressions repeat at most 1000 times, and a rule of CEL needs the length of its keys."""
    for one in RESOURCES:
        text = str(definition(one))
        assert "None" not in text
        for part in text.split("{1,")[1:]:
            assert int(part.partition("}")[0] or 0) <= 1_000


def test_bounds_are_numbers_that_an_api_server_reads() -> None:
    """It reads them as floating point: the largest 64-bit number becomes the smallest."""

    def maxima(value: Any) -> list[int]:
        below = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
        own = [value["maximum"]] if isinstance(value, dict) and isinstance(value.get("maximum"), int) else []
        return own + [one for part in below for one in maxima(part)]

    for one in RESOURCES:
        assert all(bound <= 1 << 53 for bound in maxima(definition(one)))
