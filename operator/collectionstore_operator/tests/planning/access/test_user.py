"""What is done for a user: in which order, and what is never done."""

from __future__ import annotations

from typing import Any

import pytest

from collectionstore_operator.model.access.actions import (
    ForgetCredentials,
    HoldAccess,
    IssueCredential,
    PutUser,
    RefreshSecret,
    ReleaseAccess,
    RemoveSecret,
    RemoveUser,
    RevokeToken,
)
from collectionstore_operator.model.access.due import asked, renew_at
from collectionstore_operator.model.access.observed import Former, TakenSecret
from collectionstore_operator.model.access.store import StoreUser
from collectionstore_operator.model.access.wanted import wanted_user
from collectionstore_operator.model.observed import ABSENT, Unknown
from collectionstore_operator.planning.access.credential import ORPHAN_S
from collectionstore_operator.planning.access.user import plan_user
from collectionstore_operator.status.access.user_status import user_status
from collectionstore_operator.tests.planning.access.scenes import (
    DAY_S,
    MARK,
    NOW,
    cluster,
    desired,
    nothing,
    observed,
    secret,
    token,
    user,
)

HELD = {"finalizers": ["collectionstore.io/access"]}
DELETED = {**HELD, "deletionTimestamp": "2026-01-01T00:00:00Z"}


def kinds(plan: Any) -> list[type]:
    return [type(one) for one in plan.actions]


def condition(status: Any, kind: str) -> tuple[str, str]:
    found = status.condition(kind)
    return found.status, found.reason


def test_new_user_is_held_then_made_then_gets_a_credential() -> None:
    """The finalizer is there BEFORE anything in the cluster that it is to delete."""
    plan = plan_user(user(metadata={"finalizers": []}), nothing())
    assert kinds(plan) == [HoldAccess, PutUser, IssueCredential]
    put, issued = plan.actions[1], plan.actions[2]
    assert isinstance(put, PutUser)
    assert put.body == {"roles": ["reader"], "description": MARK}
    assert isinstance(issued, IssueCredential)
    assert (issued.kind, issued.lifetime_s, issued.uid, issued.former) == ("Token", 30 * DAY_S, "", ())


def test_user_that_is_as_it_should_be_costs_nothing() -> None:
    plan = plan_user(user(), observed())
    assert plan.actions == ()
    assert not plan.done
    assert plan.wait_s == 60
    status = user_status(user(), observed(), None)
    assert condition(status, "Ready") == ("True", "Established")
    assert condition(status, "CredentialValid") == ("True", "Issued")
    assert (status.secret_name, status.credential_id) == ("api-credentials", "t1")
    assert status.issued_at < status.renew_at < status.expires_at


def test_statuses_of_an_unchanged_user_are_equal() -> None:
    first = user_status(user(), observed(), None)
    assert user_status(user(), observed(now=NOW + 30), first) == first


@pytest.mark.parametrize(
    "changed",
    [{"roles": ("writer",)}, {"disabled": True}, {"limits": {"streams": 3}}, {"roles": ()}],
)
def test_user_that_was_changed_by_others_is_put_back(changed: dict[str, Any]) -> None:
    found = StoreUser(**({"name": "api", "roles": ("reader",), "description": MARK} | changed))
    assert kinds(plan_user(user(), observed(user=found))) == [PutUser]


def test_order_of_roles_is_no_difference() -> None:
    found = StoreUser(name="api", roles=("reader", "backup"), description=MARK)
    assert plan_user(user(roles=["backup", "reader"]), observed(user=found)).actions == ()


def test_user_of_another_owner_is_neither_changed_nor_given_a_credential() -> None:
    other = StoreUser(name="api", roles=(), description="made by hand")
    assert plan_user(user(), observed(user=other, secret=ABSENT)).actions == ()
    status = user_status(user(), observed(user=other), None)
    assert condition(status, "Ready") == ("False", "UserTaken")
    assert kinds(plan_user(user(metadata=DELETED), observed(user=other))) == [ReleaseAccess]


def test_secret_of_another_owner_is_left_alone() -> None:
    seen = observed(secret=TakenSecret("the Deployment web"))
    assert plan_user(user(), seen).actions == ()
    assert condition(user_status(user(), seen, None), "Ready") == ("False", "SecretTaken")


@pytest.mark.parametrize("field", ["user", "secret", "tokens", "cluster"])
def test_unknown_is_never_taken_for_absent(field: str) -> None:
    """Nothing is issued, and nothing revoked, because of what could not be read."""
    seen = observed(**{field: Unknown("no answer")})
    assert kinds(plan_user(user(), seen)) == []
    gone = observed(**({"user": ABSENT, "secret": ABSENT} | {field: Unknown("no answer")}))
    done = [one for one in plan_user(user(), gone).actions if isinstance(one, RevokeToken | RemoveUser)]
    assert done == []


@pytest.mark.parametrize(
    ("seen", "reason"),
    [
        (cluster(initialized=False), "ClusterNotReady"),
        (cluster(unavailable="NoQuorum: none"), "ClusterNotReady"),
        (cluster(desired=desired(hibernate=True)), "Hibernated"),
        (cluster(desired=desired(paused=True)), "Paused"),
        (ABSENT, "ClusterNotFound"),
    ],
)
def test_nothing_is_done_while_the_cluster_cannot_be_asked(seen: Any, reason: str) -> None:
    found = observed(cluster=seen, user=Unknown("-"), tokens=Unknown("-"), secret=ABSENT)
    assert plan_user(user(), found).actions == ()
    assert condition(user_status(user(), found, None), "Ready") == ("False", reason)


def test_token_is_replaced_after_two_thirds_and_the_former_works_on() -> None:
    due = renew_at(secret())
    assert plan_user(user(), observed(now=due - 1)).actions == ()
    (issued,) = plan_user(user(), observed(now=due)).actions
    assert isinstance(issued, IssueCredential)
    assert issued.former == (Former(id="t1", until=due + 3_600),)
    assert (issued.uid, issued.version) == ("s-1", "7")


def test_overlap_ends_with_the_former_token() -> None:
    (issued,) = plan_user(user(), observed(now=secret().expires - 10)).actions
    assert isinstance(issued, IssueCredential)
    assert issued.former == (Former(id="t1", until=secret().expires),)


def test_former_token_is_revoked_when_its_time_has_passed_and_then_forgotten() -> None:
    both = (token("t1"), token("t2", age_s=10))
    held = secret(credential_id="t2", former=(Former(id="t1", until=NOW + 5),))
    seen = observed(secret=held, tokens=both)
    assert plan_user(user(), seen).actions == ()
    assert plan_user(user(), seen).wait_s == 5
    late = observed(secret=held, tokens=both, now=NOW + 5)
    assert [one.id for one in plan_user(user(), late).actions if isinstance(one, RevokeToken)] == ["t1"]
    after = observed(secret=held, tokens=(token("t2"),), now=NOW + 6)
    (forgotten,) = plan_user(user(), after).actions
    assert isinstance(forgotten, ForgetCredentials)
    assert forgotten.former == ()


def test_annotation_rotates_once() -> None:
    wanted = user(metadata={"annotations": {"collectionstore.io/rotate-credential": "monday"}})
    (issued,) = plan_user(wanted, observed()).actions
    assert isinstance(issued, IssueCredential)
    assert issued.former == (Former(id="t1", until=NOW + 3_600),)
    done = observed(secret=secret(credential_id="t2", rotated=issued.rotated), tokens=(token("t2"),))
    assert plan_user(wanted, done).actions == ()
    assert plan_user(user(), done).actions == (), "taking the annotation back asks for nothing"


def test_revocation_by_annotation_ends_all_former_tokens_at_once() -> None:
    """The Secret has another token first; then every one before it is revoked, in the next round."""
    wanted = user(metadata={"annotations": {"collectionstore.io/revoke-credential": "leaked"}})
    held = secret(credential_id="t2", former=(Former(id="t1", until=NOW + 3_000),))
    (issued,) = plan_user(wanted, observed(secret=held, tokens=(token("t1"), token("t2")))).actions
    assert isinstance(issued, IssueCredential)
    assert issued.former == (Former(id="t1", until=NOW), Former(id="t2", until=NOW))
    after = observed(
        secret=secret(credential_id="t3", former=issued.former, rotated=asked(wanted)),
        tokens=(token("t1"), token("t2"), token("t3")),
    )
    revoked = [one.id for one in plan_user(wanted, after).actions if isinstance(one, RevokeToken)]
    assert revoked == ["t1", "t2"]


def test_rotation_after_a_revocation_has_an_overlap_again() -> None:
    notes = {"collectionstore.io/revoke-credential": "leaked"}
    held = secret(rotated=asked(user(metadata={"annotations": notes})))
    both = user(metadata={"annotations": notes | {"collectionstore.io/rotate-credential": "x"}})
    (issued,) = plan_user(both, observed(secret=held)).actions
    assert isinstance(issued, IssueCredential)
    assert issued.former == (Former(id="t1", until=NOW + 3_600),)


def test_token_that_no_secret_names_is_revoked_after_a_while() -> None:
    """An operator that died between the token and the Secret leaves one; one that is alive may be about to write it."""
    fresh = observed(tokens=(token("t1"), token("lost", age_s=ORPHAN_S - 1)))
    assert plan_user(user(), fresh).actions == ()
    old = observed(tokens=(token("t1"), token("lost", age_s=ORPHAN_S)))
    (revoked,) = plan_user(user(), old).actions
    assert isinstance(revoked, RevokeToken)
    assert revoked.id == "lost"


@pytest.mark.parametrize(
    "changed",
    [
        {"secret": ABSENT},
        {"secret": secret(complete=False)},
        {"secret": secret(credential_id="")},
        {"tokens": ()},
    ],
)
def test_lost_credential_is_issued_again(changed: dict[str, Any]) -> None:
    assert kinds(plan_user(user(), observed(**changed))) == [IssueCredential]


def test_secret_follows_the_authority_and_the_addresses() -> None:
    (refreshed,) = plan_user(user(), observed(about="other")).actions
    assert isinstance(refreshed, RefreshSecret)
    assert (refreshed.uid, refreshed.version) == ("s-1", "7")


def test_certificate_is_issued_again_by_another_authority_or_for_another_cluster() -> None:
    wanted = user(credential="Certificate")
    held = secret(kind="Certificate", credential_id="5a", issued_by="key-1")
    assert plan_user(wanted, observed(secret=held, tokens=())).actions == ()
    for seen in (observed(secret=held, authority="key-2"), observed(secret=held, cluster=cluster(cluster_id="other"))):
        issued = plan_user(wanted, seen).actions[0]
        assert isinstance(issued, IssueCredential)
        assert (issued.kind, issued.former) == ("Certificate", ())
    assert plan_user(wanted, observed(secret=ABSENT, authority="", tokens=())).actions == (), "nothing could sign it"


def test_change_from_token_to_certificate_keeps_the_token_for_the_overlap() -> None:
    (issued,) = plan_user(user(credential="Certificate"), observed()).actions
    assert isinstance(issued, IssueCredential)
    assert (issued.kind, issued.former) == ("Certificate", (Former(id="t1", until=NOW + 3_600),))


def test_no_credential_means_no_secret_and_no_token() -> None:
    plan = plan_user(user(credential="None"), observed())
    assert kinds(plan) == [RemoveSecret, RevokeToken]


def test_renamed_secret_is_made_before_the_former_one_goes() -> None:
    wanted = user(secretName="other")
    before = secret(name="api-credentials", uid="old")
    made = plan_user(wanted, observed(secret=ABSENT, others=(before,)))
    assert kinds(made) == [IssueCredential]
    held = secret(name="other")
    after = plan_user(wanted, observed(secret=held, others=(before,)))
    assert kinds(after) == [RemoveSecret]
    status = user_status(wanted, observed(secret=held, others=(before,)), None)
    assert status.secret_name == "api-credentials", "nothing else says that there is one"


def test_suspended_user_is_disabled_and_keeps_its_credential() -> None:
    (put,) = plan_user(user(suspended=True), observed()).actions
    assert isinstance(put, PutUser)
    assert put.body["disabled"] is True
    seen = observed(user=StoreUser(name="api", roles=("reader",), disabled=True, description=MARK))
    assert condition(user_status(user(suspended=True), seen, None), "Ready") == ("False", "Suspended")


def test_limits_are_put_without_what_is_unbounded() -> None:
    assert wanted_user(user(limits={"streams": 2}))["limits"] == {"streams": 2}
    assert "limits" not in wanted_user(user())


def test_deletion_removes_the_user_then_the_finalizer() -> None:
    plan = plan_user(user(metadata=DELETED), observed())
    assert kinds(plan) == [RemoveUser, ReleaseAccess]
    assert plan.done


def test_deletion_waits_for_a_cluster_that_cannot_be_asked() -> None:
    """It is not given up: the user would be in force for ever."""
    plan = plan_user(user(metadata=DELETED), observed(user=Unknown("no answer")))
    assert plan.actions == ()
    assert not plan.done


@pytest.mark.parametrize(
    "changed",
    [
        {"cluster": ABSENT},
        {"cluster": cluster(initialized=False)},
        {"namespace_terminating": True},
        {"user": ABSENT},
    ],
)
def test_deletion_ends_where_nothing_is_left_to_delete(changed: dict[str, Any]) -> None:
    plan = plan_user(user(metadata=DELETED), observed(**({"user": Unknown("-")} | changed)))
    assert kinds(plan) == [ReleaseAccess]
    assert plan.done


def test_policy_retain_holds_nothing_and_deletes_nothing() -> None:
    kept = user(deletionPolicy="Retain", metadata={"finalizers": []})
    assert plan_user(kept, observed()).actions == ()
    assert kinds(plan_user(user(deletionPolicy="Retain"), observed())) == [ReleaseAccess]
    assert kinds(plan_user(user(deletionPolicy="Retain", metadata=DELETED), observed())) == [ReleaseAccess]


def test_status_tells_why_the_last_attempt_failed() -> None:
    told = user_status(user(), nothing(), None, "PutUser: invalid_access: there is no role 'x'")
    assert condition(told, "Ready") == ("False", "Refused")
    assert "no role 'x'" in told.message


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({"now": secret().expires}, ("False", "Expired")),
        ({"now": NOW + 25 * DAY_S}, ("False", "RenewalOverdue")),
        ({"tokens": ()}, ("False", "Revoked")),
        ({"secret": ABSENT}, ("False", "Pending")),
        ({"secret": Unknown("no answer")}, ("Unknown", "SecretUnknown")),
    ],
)
def test_condition_of_the_credential(changed: dict[str, Any], expected: tuple[str, str]) -> None:
    assert condition(user_status(user(), observed(**changed), None), "CredentialValid") == expected
