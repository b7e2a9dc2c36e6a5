"""Users, roles, tokens and the access configuration over HTTP."""

from __future__ import annotations

import re
from typing import Any

import pytest

from collectionstore_node.access.callers import Caller, Method
from collectionstore_node.access.current import CALLER
from collectionstore_node.access.tokens import parse_token
from collectionstore_node.service import Store
from collectionstore_node.statemachine.access import find_token
from collectionstore_node.tests.api.http_clients import Client
from collectionstore_node.tests.api.memory_replica import Admins, MemoryReplica

ACCESS, USERS, ROLES, TOKENS = (f"/api/v1/{name}" for name in ("access", "users", "roles", "tokens"))
NOW = 1_700_000_000_123


async def test_a_user_is_created_read_changed_and_deleted(client: Client) -> None:
    made = await client.put(f"{USERS}/ada@example.org", {"roles": ["reader"], "limits": {"streams": 4}})
    assert (made.status, made.json) == (201, {"name": "ada@example.org", "revision": 1})
    assert (made.headers["ETag"], made.headers["Location"]) == ('"1"', f"{USERS}/ada@example.org")
    read = await client.get(f"{USERS}/ada%40example.org")
    assert (read.status, read.headers["ETag"]) == (200, '"1"')
    assert read.json == {
        "name": "ada@example.org",
        "roles": ["reader"],
        "disabled": False,
        "description": "",
        "limits": {"requests_per_second": 0, "bytes_per_second": 0, "streams": 4},
        "password": False,
        "created_revision": 1,
        "revision": 1,
    }
    changed = await client.put(f"{USERS}/ada@example.org", {"disabled": True}, If_Match='"1"')
    assert (changed.status, changed.json["revision"]) == (200, 2)
    lost = await client.put(f"{USERS}/ada@example.org", {}, If_Match='"1"')
    assert lost.problem(412, "precondition_failed")["current_revision"] == 2
    (await client.put(f"{USERS}/ada@example.org", {}, If_None_Match="*")).problem(412, "precondition_failed")
    deleted = await client.delete(f"{USERS}/ada@example.org", If_Match='"2"')
    assert (deleted.status, deleted.json["name"]) == (200, "ada@example.org")
    (await client.get(f"{USERS}/ada@example.org")).problem(404, "user_not_found")
    (await client.delete(f"{USERS}/ada@example.org")).problem(404, "user_not_found")


async def test_users_are_listed_in_pages(client: Client) -> None:
    for at in range(5):
        await client.put(f"{USERS}/u{at}", {})
    await client.put(f"{USERS}/other", {})
    found, cursor = list[str](), ""
    while True:
        page = (await client.get(f"{USERS}?prefix=u&limit=2{cursor}")).json
        found += [one["name"] for one in page["users"]]
        if page["next_cursor"] is None:
            break
        cursor = f"&cursor={page['next_cursor']}"
    assert found == [f"u{at}" for at in range(5)]
    (await client.get(f"{ROLES}?cursor={cursor.partition('=')[2] or 'x'}")).problem(400, "invalid_cursor")


async def test_a_change_is_made_once_under_its_key(
    client: Client, replica: MemoryReplica, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = await client.put(f"{USERS}/ada", {}, Idempotency_Key="k")
    # The time of the request is part of the command, and not of what the key stands for.
    monkeypatch.setattr(replica, "wall_ms", lambda: NOW + 1_000)
    again = await client.put(f"{USERS}/ada", {}, Idempotency_Key="k")
    assert (one.json, again.json) == ({"name": "ada", "revision": 1}, {"name": "ada", "revision": 1})
    assert again.headers["Idempotency-Replayed"] == "true"
    (await client.put(f"{USERS}/ada", {"disabled": True}, Idempotency_Key="k")).problem(422, "idempotency_key_reused")


@pytest.mark.parametrize("name", ["-ada", "a%20b", "anonymous", "a" * 129, "%C3%A9"])
async def test_a_name_that_is_no_users_is_refused(client: Client, name: str) -> None:
    for reply in (await client.put(f"{USERS}/{name}", {}), await client.delete(f"{USERS}/{name}")):
        reply.problem(400, "invalid_name")


async def test_a_role_is_created_read_listed_and_deleted(people: Client) -> None:
    given: dict[str, Any] = {
        "rules": [
            {"verbs": ["read", "watch"], "collections": ["people"], "filter": {"n": {"$gt": 1}}},
            {"verbs": ["read"], "collections": ["people"], "effect": "deny", "fields": {"hide": ["pay"]}},
        ],
        "inherits": ["monitor"],
    }
    made = await people.put(f"{ROLES}/support", given)
    assert (made.status, made.json) == (201, {"name": "support", "revision": 2})
    read = await people.get(f"{ROLES}/support")
    assert read.json == {
        "name": "support",
        **given,
        "description": "",
        "built_in": False,
        "created_revision": 2,
        "revision": 2,
    }
    admin = (await people.get(f"{ROLES}/admin")).json
    assert (admin["built_in"], admin["rules"][0]["verbs"], "revision" in admin) == (True, ["*"], False)
    names = [one["name"] for one in (await people.get(ROLES)).json["roles"]]
    assert names == ["admin", "backup", "monitor", "operator", "reader", "support", "writer"]
    await people.put(f"{USERS}/ada", {"roles": ["support"]})
    assert "'ada'" in (await people.delete(f"{ROLES}/support")).problem(409, "role_in_use")["detail"]
    await people.delete(f"{USERS}/ada")
    assert (await people.delete(f"{ROLES}/support")).status == 200
    (await people.get(f"{ROLES}/support")).problem(404, "role_not_found")
    (await people.put(f"{ROLES}/admin", {})).problem(400, "invalid_name")


@pytest.mark.parametrize(
    ("target", "given", "pointer"),
    [
        (f"{ROLES}/r", {"rules": [{"verbs": ["reed"], "collections": ["people"]}]}, "/rules/0/verbs/0"),
        (f"{ROLES}/r", {"rules": [{"verbs": ["read"], "collections": ["gone"]}]}, "/rules/0/collections/0"),
        (f"{ROLES}/r", {"inherits": ["nowhere"]}, "/inherits/0"),
        (f"{ROLES}/r", {"inherits": ["r"]}, "/inherits/0"),
        (f"{ROLES}/r", {"rules": [{"verbs": ["read"], "collections": ["people"], "filter": {"a": {"$x": 1}}}]},
         "/rules/0/filter/a/$x"),
        (f"{USERS}/u", {"roles": ["reader", "nowhere"]}, "/roles/1"),
        (f"{USERS}/u", {"roles": 3}, "/roles"),
        (f"{USERS}/u", {"admin": True}, ""),
        (ACCESS, {"mode": "On"}, "/mode"),
        (ACCESS, {"mode": "Permissive", "anonymous_roles": ["nowhere"]}, "/anonymous_roles/0"),
    ],
)  # fmt: skip
async def test_what_is_not_allowed_is_refused_with_its_place(
    people: Client, target: str, given: dict[str, Any], pointer: str
) -> None:
    fields = (await people.put(target, given)).problem(422, "invalid_access")
    assert [one["pointer"] for one in fields["errors"]] == [pointer]
    assert fields["outcome"] == "not_applied"


async def test_a_role_may_name_a_collection_that_is_to_come_if_it_says_so(client: Client) -> None:
    role = {"rules": [{"verbs": ["read"], "collections": ["gone"]}]}
    assert "missing=allow" in (await client.put(f"{ROLES}/r", role)).problem(422, "invalid_access")["detail"]
    assert (await client.put(f"{ROLES}/r?missing=allow", role)).status == 201
    (await client.put(f"{ROLES}/r?missing=yes", role)).problem(400, "invalid_parameter")


async def test_bodies_are_bounded_and_strict(client: Client) -> None:
    (await client.put(f"{USERS}/u", {"description": "x" * 9_000})).problem(413, "too_large")
    (await client.send("PUT", f"{USERS}/u", b'{"roles":[],"roles":[]}', {"Content-Type": "application/json"})).problem(
        400, "duplicate_key"
    )
    (await client.send("PUT", f"{USERS}/u", b"{}")).problem(415, "unsupported_content_type")


async def test_a_token_shows_its_secret_once(client: Client, replica: MemoryReplica) -> None:
    await client.put(f"{USERS}/ada", {"roles": ["reader"]})
    made = await client.post(TOKENS, {"user": "ada", "ttl": "90d", "description": "ci"})
    assert made.status == 201
    assert made.headers["Cache-Control"] == "no-store"
    facts = made.json
    given_token = parse_token(facts["token"])
    assert given_token is not None
    assert (given_token.id, made.headers["Location"]) == (facts["id"], f"{TOKENS}/{facts['id']}")
    assert facts["expires_ms"] == NOW + 90 * 86_400_000
    record = find_token(replica.view, facts["id"])
    assert record is not None
    assert record.accepted_until(given_token.digest, NOW) == facts["expires_ms"]
    secret = facts["token"].rpartition(f"{facts['id']}_")[2]
    assert not any(secret.encode() in value for value in replica.view.values.values())
    read = await client.get(f"{TOKENS}/{facts['id']}")
    assert read.json == {
        "id": facts["id"],
        "user": "ada",
        "description": "ci",
        "session": False,
        "created_ms": NOW,
        "expires_ms": facts["expires_ms"],
        "previous_until_ms": None,
        "used_ms": None,
        "created_revision": 2,
        "revision": 2,
    }
    assert secret not in (await client.get(TOKENS)).body.decode()


async def test_a_token_is_rotated_and_revoked(client: Client, replica: MemoryReplica) -> None:
    await client.put(f"{USERS}/ada", {})
    made = (await client.post(TOKENS, {"user": "ada", "ttl": "none"})).json
    one = f"{TOKENS}/{made['id']}"
    assert made["expires_ms"] is None
    rotated = await client.post(f"{one}:rotate", {"overlap": "1h", "ttl": "30d"})
    assert (rotated.status, rotated.headers["Cache-Control"]) == (200, "no-store")
    facts = rotated.json
    assert (facts["id"], facts["user"]) == (made["id"], "ada")
    assert (facts["previous_until_ms"], facts["expires_ms"]) == (NOW + 3_600_000, NOW + 30 * 86_400_000)
    old, new = parse_token(made["token"]), parse_token(facts["token"])
    record = find_token(replica.view, made["id"])
    assert old is not None
    assert new is not None
    assert record is not None
    assert old.digest != new.digest
    assert record.accepted_until(old.digest, NOW) == NOW + 3_600_000
    assert record.accepted_until(new.digest, NOW) == NOW + 30 * 86_400_000
    at_once = (await client.post(f"{one}:rotate", {})).json
    assert (at_once["previous_until_ms"], at_once["expires_ms"]) == (NOW, facts["expires_ms"])
    assert (await client.delete(one)).status == 200
    (await client.delete(one)).problem(404, "token_not_found")
    (await client.post(f"{one}:rotate", {})).problem(404, "token_not_found")
    (await client.get(one)).problem(404, "token_not_found")


async def test_tokens_are_listed_by_user(client: Client) -> None:
    for user in ("ada", "bob"):
        await client.put(f"{USERS}/{user}", {})
    made = [(await client.post(TOKENS, {"user": user, "ttl": "1h"})).json["id"] for user in ("ada", "bob", "ada")]
    found = [one["id"] for one in (await client.get(f"{TOKENS}?user=ada")).json["tokens"]]
    assert found == sorted([made[0], made[2]])
    page = (await client.get(f"{TOKENS}?limit=2")).json
    rest = (await client.get(f"{TOKENS}?limit=2&cursor={page['next_cursor']}")).json
    assert [one["id"] for one in page["tokens"] + rest["tokens"]] == sorted(made)
    (await client.get(f"{TOKENS}?user=a%20b")).problem(400, "invalid_parameter")


async def test_a_secret_is_not_made_twice_under_a_key(client: Client) -> None:
    await client.put(f"{USERS}/ada", {})
    (await client.post(TOKENS, {"user": "ada", "ttl": "1h"}, Idempotency_Key="k")).problem(
        400, "invalid_idempotency_key"
    )


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({"user": "ada"}, 400, "invalid_body"),
        ({"user": "ada", "ttl": "soon"}, 400, "invalid_body"),
        ({"user": "ada", "ttl": "1h", "secret": "x"}, 400, "invalid_body"),
        ({"user": "eve", "ttl": "1h"}, 404, "user_not_found"),
        ({"user": "a b", "ttl": "1h"}, 400, "invalid_name"),
        ({"user": "ada", "ttl": "1h", "description": "x" * 257}, 422, "invalid_access"),
    ],
)
async def test_a_token_that_cannot_be_is_refused(client: Client, body: Any, status: int, code: str) -> None:
    await client.put(f"{USERS}/ada", {})
    (await client.post(TOKENS, body)).problem(status, code)


async def test_the_configuration_is_read_and_replaced(client: Client) -> None:
    before = await client.get(ACCESS)
    assert "ETag" not in before.headers
    assert (before.json["mode"], before.json["configured"], before.json["access_revision"]) == ("Disabled", False, 0)
    made = await client.put(ACCESS, {"mode": "Permissive", "anonymous_roles": ["reader"]}, If_None_Match="*")
    assert (made.status, made.json) == (201, {"name": "access", "revision": 1})
    issuer = {"issuer": "https://id.example", "audiences": ["store"]}
    changed = await client.put(ACCESS, {"mode": "Permissive", "jwt": [issuer]}, If_Match='"1"')
    assert (changed.status, changed.headers["ETag"]) == (200, '"2"')
    found = (await client.get(ACCESS)).json
    assert found["anonymous_roles"] == []
    assert found["jwt"][0] == issuer | {
        "algorithms": ["RS256", "ES256"],
        "jwks_url": "",
        "jwks_file": "",
        "ca": "",
        "leeway_s": 30,
        "keys_max_age_s": 86_400,
        "user_claim": "sub",
        "user_prefix": "",
        "rules": [],
    }
    assert (found["configured"], found["configuration_revision"], found["access_revision"]) == (True, 2, 2)
    assert (found["service_accounts"], found["session_s"]) == (None, 3_600)
    (await client.put(ACCESS, {"mode": "Disabled"}, If_Match='"1"')).problem(412, "precondition_failed")


async def test_what_is_read_can_be_written_back(client: Client) -> None:
    await client.put(ACCESS, {"mode": "Permissive", "service_accounts": {"audiences": ["a"]}})
    counted = {"configured", "users", "roles", "tokens", "access_revision", "configuration_revision", "revision"}
    found = (await client.get(ACCESS)).json
    written = {name: value for name, value in found.items() if name not in counted}
    assert (await client.put(ACCESS, written)).status == 200
    again = (await client.get(ACCESS)).json
    assert {name: value for name, value in again.items() if name not in counted} == written


async def test_no_one_is_locked_out(client: Client) -> None:
    problem = (await client.put(ACCESS, {"mode": "Enforced"})).problem(409, "access_lockout")
    assert problem["outcome"] == "not_applied"
    await client.put(f"{USERS}/root", {"roles": ["admin"]})
    await client.post(TOKENS, {"user": "root", "ttl": "none"})
    assert (await client.put(ACCESS, {"mode": "Enforced"})).status == 201


async def test_once_it_is_enforced_who_is_not_known_administers_nothing(client: Client, admins: Admins) -> None:
    await client.put(f"{USERS}/root", {"roles": ["admin"]})
    await client.post(TOKENS, {"user": "root", "ttl": "none"})
    await client.put(ACCESS, {"mode": "Enforced"})
    # Whoever may change the cluster otherwise, too.
    assert admins.allowed
    for reply in (
        await client.get(USERS),
        await client.put(f"{USERS}/eve", {"roles": ["admin"]}),
        await client.delete(f"{USERS}/root"),
        await client.get(f"{ROLES}/admin"),
        await client.put(f"{ROLES}/r", {}),
        await client.post(TOKENS, {"user": "root", "ttl": "1h"}),
        await client.get(ACCESS),
        await client.put(ACCESS, {"mode": "Disabled"}),
    ):
        reply.problem(401, "unauthorized")
        assert reply.headers["WWW-Authenticate"].startswith("Bearer")
    who = await client.get("/api/v1/whoami")
    assert (who.status, who.json["user"], who.json["roles"], who.json["mode"]) == (200, None, [], "Enforced")


async def test_while_it_is_not_enforced_only_who_may_change_the_cluster_prepares_it(
    client: Client, admins: Admins
) -> None:
    """Who makes users today has their rights tomorrow."""
    admins.allowed = False
    for mode in (None, "Permissive"):
        if mode is not None:
            admins.allowed = True
            assert (await client.put(ACCESS, {"mode": mode})).status == 201
            admins.allowed = False
        (await client.put(f"{USERS}/eve", {"roles": ["admin"]})).problem(403, "forbidden")
        (await client.get(TOKENS)).problem(403, "forbidden")
        assert (await client.get("/api/v1/whoami")).status == 200


async def test_who_one_is_names_the_credential_and_no_secret(store: Store) -> None:
    token = CALLER.set(Caller("ada", Method.TOKEN, ("reader",), credential="0a", expires_s=1.5))
    try:
        found = store.access.whoami()
    finally:
        CALLER.reset(token)
    assert found.caller is not None
    assert (found.roles, found.caller.credential) == (("reader",), "0a")


async def test_every_id_and_secret_is_another_one(client: Client) -> None:
    await client.put(f"{USERS}/ada", {})
    made = [(await client.post(TOKENS, {"user": "ada", "ttl": "1h"})).json["token"] for _ in range(20)]
    assert len({*made}) == 20
    assert all(re.fullmatch(r"cst_[0-9a-f]{16}_[A-Za-z0-9_-]{43}", one) for one in made)
