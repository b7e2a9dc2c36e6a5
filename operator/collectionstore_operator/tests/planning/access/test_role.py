"""What is done for a role."""

from __future__ import annotations

from typing import Any

import pytest

from collectionstore_operator.model.access.actions import HoldAccess, PutRole, ReleaseAccess, RemoveRole
from collectionstore_operator.model.access.store import StoreRole
from collectionstore_operator.model.access.wanted import wanted_role
from collectionstore_operator.model.observed import ABSENT, Unknown
from collectionstore_operator.planning.access.role import plan_role
from collectionstore_operator.status.access.role_status import role_status
from collectionstore_operator.tests.planning.access.scenes import ROLE_MARK, cluster, observed_role, role

DELETED = {"finalizers": ["collectionstore.io/access"], "deletionTimestamp": "2026-01-01T00:00:00Z"}
RULES: list[dict[str, Any]] = [
    {
        "verbs": ["read", "watch"],
        "collections": ["orders-*"],
        "filter": '{"tenant": "north", "paid": {"$in": []}}',
        "fields": {"hide": ["card"]},
    },
    {"effect": "Deny", "verbs": ["*"], "buckets": ["secret"]},
    {"verbs": ["monitor"], "cluster": True},
]
STORED: tuple[dict[str, Any], ...] = (
    {
        "verbs": ["read", "watch"],
        "collections": ["orders-*"],
        "filter": {"tenant": "north", "paid": {"$in": []}},
        "fields": {"hide": ["card"]},
    },
    {"effect": "deny", "verbs": ["*"], "buckets": ["secret"]},
    {"verbs": ["monitor"], "cluster": True},
)


def test_new_role_is_held_then_made() -> None:
    plan = plan_role(role(metadata={"finalizers": []}, rules=RULES, inherits=["reader"]), observed_role(role=ABSENT))
    assert [type(one) for one in plan.actions] == [HoldAccess, PutRole]
    put = plan.actions[1]
    assert isinstance(put, PutRole)
    assert put.body == {"rules": list(STORED), "inherits": ["reader"], "description": ROLE_MARK}


@pytest.mark.parametrize(
    "found",
    [
        STORED,
        # As a cluster may answer that says everything.
        tuple(
            {"effect": "allow", "buckets": [], "cluster": False, "fields": None, "filter": None} | one for one in STORED
        ),
    ],
)
def test_role_that_is_as_it_should_be_costs_nothing(found: tuple[dict[str, Any], ...]) -> None:
    seen = observed_role(role=StoreRole(name="orders", rules=found, description=ROLE_MARK))
    assert plan_role(role(rules=RULES), seen).actions == ()
    assert role_status(role(rules=RULES), seen, None).conditions[0].status == "True"


@pytest.mark.parametrize(
    "changed",
    [
        {"verbs": ["write"]},
        {"effect": "deny"},
        {"collections": ["*"]},
        {"filter": {}},
        {"fields": {"show": ["a"]}},
        {"cluster": True},
    ],
)
def test_any_difference_in_what_is_allowed_is_put_right(changed: dict[str, Any]) -> None:
    found = StoreRole(
        name="orders", rules=({"verbs": ["read"], "collections": ["orders"]} | changed,), description=ROLE_MARK
    )
    assert [type(one) for one in plan_role(role(), observed_role(role=found)).actions] == [PutRole]


def test_empty_filter_is_another_one_than_none() -> None:
    """It matches everything, and is a filter all the same: its rule is about documents."""
    given = role(rules=[{"verbs": ["read"], "collections": ["orders"], "filter": "{}"}])
    assert wanted_role(given)["rules"] == [{"verbs": ["read"], "collections": ["orders"], "filter": {}}]
    assert plan_role(given, observed_role()).actions != ()


def test_order_of_rules_and_names_counts_as_the_cluster_keeps_it() -> None:
    swapped = StoreRole(name="orders", rules=(STORED[1], STORED[0], STORED[2]), description=ROLE_MARK)
    assert plan_role(role(rules=RULES), observed_role(role=swapped)).actions != ()


def test_role_of_another_owner_is_left_alone() -> None:
    other = observed_role(role=StoreRole(name="orders", description="by hand"))
    assert plan_role(role(), other).actions == ()
    assert role_status(role(), other, None).conditions[0].reason == "RoleTaken"
    assert [type(one) for one in plan_role(role(metadata=DELETED), other).actions] == [ReleaseAccess]


def test_deletion_removes_the_role_then_the_finalizer() -> None:
    plan = plan_role(role(metadata=DELETED), observed_role())
    assert [type(one) for one in plan.actions] == [RemoveRole, ReleaseAccess]
    assert plan.done
    waiting = plan_role(role(metadata=DELETED), observed_role(role=Unknown("no answer")))
    assert (waiting.actions, waiting.done) == ((), False)


def test_nothing_is_done_before_the_cluster_is_bootstrapped() -> None:
    seen = observed_role(role=Unknown("-"), cluster=cluster(initialized=False))
    assert plan_role(role(), seen).actions == ()
    assert role_status(role(), seen, None).conditions[0].reason == "ClusterNotReady"
