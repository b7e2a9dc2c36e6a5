"""When the configuration of access control is put into a cluster, and what the condition says."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from collectionstore_operator.model.access.configuration import Begun, canonical, configuration, wanted
from collectionstore_operator.model.access_seen import AccessSeen
from collectionstore_operator.model.actions import ConfigureAccess
from collectionstore_operator.model.assessment import assess
from collectionstore_operator.model.observed import Observed, Unknown
from collectionstore_operator.resource.desired import Desired
from collectionstore_operator.status.access.condition import access_configured
from collectionstore_operator.status.condition_state import ConditionState
from collectionstore_operator.tests.planning.access.scenes import desired
from collectionstore_operator.tests.planning.pictures import draw, make_desired, planned

HEALTHY = "0: leader\n1: voter\n2: voter"
UNUSED = AccessSeen(configured=False, mode="Disabled")
EVERYTHING: dict[str, Any] = {
    "mode": "Enforced",
    "jwtIssuers": [
        {
            "name": "company",
            "issuer": "https://login.example.org",
            "audiences": ["store"],
            "leewaySeconds": 0,
            "rules": [{"claim": "groups", "values": ["admins"], "roles": ["admin"]}],
        }
    ],
    "serviceAccounts": {
        "rules": [{"namespace": "shop", "roles": ["writer"]}, {"namespace": "a", "name": "b", "user": "c"}],
    },
    "limits": {"streams": 10},
    "sessionSeconds": 600,
    "revokedCertificates": ["5a"],
    "unsafe": {"anonymous": ["reader"]},
}


def seen(mode: str = "Enforced", **config: Any) -> AccessSeen:
    return AccessSeen(configured=True, mode=mode, config=canonical({"mode": mode} | config), revision=9)


def mode_of(config: str | None) -> str | None:
    return None if config is None else str(msgspec.json.decode(config)["mode"])


@pytest.mark.parametrize(
    ("access", "begun", "found", "mode"),
    [
        # A new cluster on Kubernetes enforces, whatever it has.
        (None, "Enforced", UNUSED, "Enforced"),
        (None, "Enforced", seen("Permissive"), "Enforced"),
        # An older one serves everybody, and is never opened again.
        (None, "", UNUSED, "Permissive"),
        (None, "", seen("Enforced"), None),
        (None, "", seen("Permissive"), None),
        # A local one has none.
        (None, "Disabled", UNUSED, None),
        (None, "Disabled", seen("Enforced"), "Disabled"),
        # What is written counts.
        ({}, "", UNUSED, "Enforced"),
        ({"mode": "Permissive"}, "Enforced", UNUSED, "Permissive"),
        ({"mode": "Disabled"}, "Enforced", seen(), "Disabled"),
        ({"mode": "Enforced"}, "Disabled", UNUSED, "Enforced"),
    ],
)
def test_mode_that_a_cluster_is_to_have(access: Any, begun: Begun, found: AccessSeen, mode: str | None) -> None:
    assert mode_of(wanted(desired(access=access), found, begun=begun)) == mode


def test_configuration_says_what_the_resource_says() -> None:
    access = desired(access=EVERYTHING).spec.access
    assert access is not None
    found = msgspec.json.decode(canonical(configuration(access)))
    assert found == {
        "mode": "Enforced",
        "anonymous_roles": ["reader"],
        "jwt": [
            {
                "issuer": "https://login.example.org",
                "audiences": ["store"],
                "algorithms": ["RS256", "ES256"],
                "leeway_s": 0,
                "keys_max_age_s": 86_400,
                "user_claim": "sub",
                "user_prefix": "company:",
                "rules": [{"claim": "groups", "values": ["admins"], "roles": ["admin"]}],
            }
        ],
        "service_accounts": {
            "audiences": ["collectionstore"],
            "rules": [
                {"namespace": "shop", "name": "*", "roles": ["writer"]},
                {"namespace": "a", "name": "b", "user": "c"},
            ],
        },
        "limits": {"streams": 10},
        "session_s": 600,
        "revoked_certificates": ["5a"],
    }


def test_removed_unsafe_field_takes_anonymous_access_away() -> None:
    open_to_all = seen("Enforced", anonymous_roles=["admin"])
    config = wanted(desired(), open_to_all, begun="Enforced")
    assert config == '{"mode":"Enforced"}'


def observe(picture: str, cluster: Desired, access: Any, begun: Begun = "") -> Observed:
    return msgspec.structs.replace(draw(picture, cluster), access=access, access_begun=begun)


def with_access(access: Any) -> Desired:
    cluster = make_desired(3)
    spec = msgspec.structs.replace(cluster.spec, access=desired(access=access).spec.access)
    return msgspec.structs.replace(cluster, spec=spec)


def configured(cluster: Desired, observed: Observed) -> list[str]:
    return [one.config for one in planned(cluster, observed).actions if isinstance(one, ConfigureAccess)]


def test_new_cluster_is_configured_once_it_has_a_leader() -> None:
    cluster = with_access(None)
    assert configured(cluster, observe(HEALTHY, cluster, UNUSED, "Enforced")) == ['{"mode":"Enforced"}']
    assert configured(cluster, observe(HEALTHY, cluster, seen(), "Enforced")) == []


@pytest.mark.parametrize("access", [None, Unknown("no answer"), AccessSeen(configured=False, supported=False)])
def test_nothing_is_configured_that_is_not_known_or_not_there(access: Any) -> None:
    cluster = with_access({})
    assert configured(cluster, observe(HEALTHY, cluster, access)) == []


def test_nothing_is_configured_without_a_leader() -> None:
    cluster = with_access({})
    assert configured(cluster, observe("0: voter\n1: voter\n2: voter", cluster, UNUSED)) == []


def test_nothing_is_configured_while_paused() -> None:
    cluster = with_access({})
    paused = msgspec.structs.replace(cluster, spec=msgspec.structs.replace(cluster.spec, paused=True))
    assert configured(paused, observe(HEALTHY, paused, UNUSED)) == []


def test_repair_does_not_wait_for_the_configuration() -> None:
    """It may be refused for as long as a role is missing: an outdated member is restarted all the same."""
    cluster = with_access({})
    made = planned(cluster, observe("0: leader\n1: voter\n2: voter old", cluster, UNUSED))
    assert [type(one).__name__ for one in made.actions] == ["ConfigureAccess", "RestartPod"]


@pytest.mark.parametrize(
    ("access", "begun", "found", "expected"),
    [
        (None, "Enforced", seen(), ("True", "Enforced")),
        ({"mode": "Permissive"}, "", seen("Permissive"), ("True", "Permissive")),
        ({"mode": "Disabled"}, "", seen("Disabled"), ("True", "Disabled")),
        (None, "", seen("Permissive"), ("False", "NotChosen")),
        (None, "", seen("Enforced"), ("True", "Enforced")),
        (None, "Disabled", UNUSED, ("True", "Disabled")),
        (
            {"unsafe": {"anonymous": ["admin"]}},
            "",
            seen(anonymous_roles=["admin"]),
            ("True", "EnforcedUnsafe"),
        ),
        ({}, "", UNUSED, ("False", "ConfigurationPending")),
        ({}, "", AccessSeen(configured=False, supported=False), ("False", "NotSupported")),
        (None, "", AccessSeen(configured=False, supported=False), ("True", "NotSupported")),
    ],
)
def test_condition(access: Any, begun: Begun, found: AccessSeen, expected: tuple[str, str]) -> None:
    cluster = with_access(access)
    observed = observe(HEALTHY, cluster, found, begun)
    state = access_configured(assess(cluster, observed), planned(cluster, observed), None)
    assert state is not None
    assert (state.status, state.reason) == expected


def test_condition_stays_while_no_member_can_be_asked() -> None:
    cluster = with_access({})
    observed = observe(HEALTHY, cluster, Unknown("no answer"))
    before = ConditionState("True", "Enforced", "as it was")
    assert access_configured(assess(cluster, observed), planned(cluster, observed), before) == before
    assert access_configured(assess(cluster, observed), planned(cluster, observed), None) is None
