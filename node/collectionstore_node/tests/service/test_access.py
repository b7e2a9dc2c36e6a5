"""Who may do what by the applied state, and the note of when tokens were used."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import msgspec
import pytest

from collectionstore_node.access.callers import Caller, Method
from collectionstore_node.access.current import CALLER
from collectionstore_node.access.modes import Mode
from collectionstore_node.access.verbs import Kind, Verb
from collectionstore_node.errors import NotLeader, OutcomeUnknown
from collectionstore_node.service import Consistency, Store, StoreLimits, TokenUses
from collectionstore_node.service.access import PAGE_BYTES_MAX, USE_NOTED_MS
from collectionstore_node.service.access_requests import (
    ConfigureAccess,
    CreateToken,
    DeleteUser,
    ListRoles,
    ListTokens,
    ListUsers,
    PutRole,
    PutUser,
)
from collectionstore_node.service.results import Code
from collectionstore_node.service.token_uses import LOOK_S
from collectionstore_node.statemachine.access_checks import USED_MAX
from collectionstore_node.statemachine.access_commands import Asked, UseTokens
from collectionstore_node.tests.api.memory_replica import MemoryReplica
from collectionstore_node.tests.service.conftest import LIMITS

NEW = Consistency.LINEARIZABLE
ID = "0123456789abcdef"
ADA = Caller("ada", Method.TOKEN, credential=ID)


@pytest.fixture(autouse=True)
def _no_caller() -> Iterator[None]:
    token = CALLER.set(None)
    yield
    CALLER.reset(token)


async def change(store: Store, *actions: PutUser | PutRole | ConfigureAccess | CreateToken | DeleteUser) -> None:
    for action in actions:
        outcome = await store.access.change(action, key=None, timeout_s=1)
        assert outcome.code is Code.OK, action


def as_operator() -> None:
    CALLER.set(Caller("demo-operator", Method.CERTIFICATE, ("operator",)))


async def test_rights_are_those_of_the_applied_state(store: Store) -> None:
    as_operator()
    await change(store, PutUser("ada", b'{"roles":["reader"]}'), ConfigureAccess(b'{"mode":"Enforced"}'))
    CALLER.set(ADA)
    access = store.access
    before = access.rights()
    assert before.allows(Verb.READ, Kind.COLLECTION, "c")
    assert not before.allows(Verb.WRITE, Kind.COLLECTION, "c")
    assert (access.mode, before.revision, access.revision) == (Mode.ENFORCED, 2, 2)
    # The same object while nothing of access control changes, whatever else does.
    await store.create_collection("c", key=None, timeout_s=1)
    assert access.rights() is before
    as_operator()
    await change(store, PutUser("ada", b'{"roles":["writer"]}'))
    CALLER.set(ADA)
    assert access.rights().allows(Verb.WRITE, Kind.COLLECTION, "c")
    assert access.rights().revision == 4
    as_operator()
    await change(store, DeleteUser("ada"))
    CALLER.set(ADA)
    assert not access.rights().allows(Verb.READ, Kind.COLLECTION, "c")


async def test_without_a_configuration_the_setting_of_the_member_counts(replica: MemoryReplica) -> None:
    for mode in Mode:
        access = Store(replica, LIMITS, access=mode).access
        assert (access.mode, access.configuration.mode) == (mode, mode)
        assert access.rights().unrestricted is (mode is Mode.DISABLED)
    store = Store(replica, LIMITS, access=Mode.ENFORCED)
    as_operator()
    await change(store, ConfigureAccess(b'{"mode":"Disabled"}'))
    assert store.access.mode is Mode.DISABLED


async def test_a_change_says_who_asks_by_what_cannot_be_taken_away(store: Store, replica: MemoryReplica) -> None:
    now = replica.wall_ms()
    cases = (
        (None, Asked(time_ms=now)),
        (ADA, Asked(time_ms=now)),
        (Caller("ada", Method.JWT, ("admin",)), Asked(time_ms=now)),
        (Caller("ada", Method.CERTIFICATE, ("admin",)), Asked("ada", ("admin",), time_ms=now)),
        (Caller("local", Method.LOCAL, ("operator",)), Asked("local", ("operator",), time_ms=now)),
    )
    for caller, asked in cases:
        CALLER.set(caller)
        assert store.access.asked() == asked
    assert Store(replica, LIMITS, access=Mode.ENFORCED).access.asked().enforced
    CALLER.set(None)
    outcome = await store.access.change(ConfigureAccess(b'{"mode":"Enforced"}'), key=None, timeout_s=1)
    assert outcome.code is Code.LOCKED_OUT


async def test_who_one_is_has_the_roles_that_are_inherited_and_exist(store: Store) -> None:
    as_operator()
    await change(
        store,
        PutRole("base", b'{"inherits":["monitor"]}'),
        PutUser("ada", b'{"roles":["base"]}'),
        ConfigureAccess(b'{"mode":"Permissive"}'),
    )
    CALLER.set(Caller("ada", Method.JWT, ("reader", "nowhere")))
    found = store.access.whoami()
    assert found.roles == ("base", "reader", "monitor")
    assert not store.access.administers()
    as_operator()
    assert store.access.administers()


async def test_users_roles_and_tokens_are_listed_in_pages(store: Store) -> None:
    users = [f"u{at}" for at in range(7)]
    await change(store, *(PutUser(name, b"{}") for name in users), PutRole("n", b"{}"))
    await change(store, *(CreateToken(f"{at:016x}", f"u{at % 2}", bytes(32), 1) for at in range(5)))
    access = store.access
    found, after = [], None
    while True:
        page = await access.list_users(ListUsers("u", after, 3), consistency=NEW, timeout_s=1)
        found += [one.name for one in page.items]
        after = page.next_after
        if after is None:
            break
    assert found == users
    roles = await access.list_roles(ListRoles("", "backup", 3), consistency=NEW, timeout_s=1)
    assert [(one.name, one.record is None) for one in roles.items] == [
        ("monitor", True),
        ("n", False),
        ("operator", True),
    ]
    assert roles.next_after == "operator"
    tokens = await access.list_tokens(ListTokens("u1", None, 5), consistency=NEW, timeout_s=1)
    assert [one.id for one in tokens.items] == [f"{at:016x}" for at in (1, 3)]
    rest = await access.list_tokens(ListTokens("u0", f"{0:016x}", 1), consistency=NEW, timeout_s=1)
    assert ([one.id for one in rest.items], rest.next_after) == ([f"{2:016x}"], f"{2:016x}")
    everything = await access.list_tokens(ListTokens(None, None, 5), consistency=NEW, timeout_s=1)
    assert (len(everything.items), everything.next_after) == (5, None)


async def test_a_page_of_roles_is_bounded_in_bytes(store: Store) -> None:
    rules = b'{"rules":[' + b",".join([b'{"verbs":["read"],"buckets":["' + b"b" * 62 + b'"]}'] * 64) + b"]}"
    names = [f"r{at:03}" for at in range(60)]
    await change(store, *(PutRole(name, rules) for name in names))
    page = await store.access.list_roles(ListRoles("r0", None, 5), consistency=NEW, timeout_s=1)
    assert [one.name for one in page.items] == names[:5]
    whole = Store(store._replica, StoreLimits())
    found: list[str] = []
    sizes: list[int] = []
    after = None
    while True:
        page = await whole.access.list_roles(ListRoles("r0", after, 1_000), consistency=NEW, timeout_s=1)
        found += [one.name for one in page.items]
        sizes.append(sum(len(one.text) for one in page.items))
        after = page.next_after
        if after is None:
            break
    assert found == names
    assert len(sizes) == 2
    assert PAGE_BYTES_MAX <= sizes[0] < PAGE_BYTES_MAX + len(rules)


async def test_the_use_of_a_token_is_stored_once_an_hour(store: Store, replica: MemoryReplica) -> None:
    await change(store, PutUser("ada", b"{}"), CreateToken(ID, "ada", bytes(32), 1))
    access = store.access
    replica.proposed.clear()
    for _ in range(100):
        record = access.token(ID)
        assert record is not None
        access.note_use(ID, record)
    assert replica.proposed == []
    assert await access.store_uses() == 1
    assert [one.action for one in replica.proposed] == [UseTokens(((ID, replica.wall_ms()),))]
    record = access.token(ID)
    assert record is not None
    assert record.used_ms == replica.wall_ms()
    access.note_use(ID, record)
    assert await access.store_uses() == 0
    # What is older is noted again.
    access.note_use(ID, msgspec.structs.replace(record, used_ms=record.used_ms - USE_NOTED_MS))
    assert await access.store_uses() == 1


async def test_what_is_noted_at_a_time_is_bounded(store: Store, replica: MemoryReplica) -> None:
    await change(store, PutUser("ada", b"{}"), CreateToken(ID, "ada", bytes(32), 1))
    record = store.access.token(ID)
    assert record is not None
    for at in range(2 * USED_MAX):
        store.access.note_use(f"{at:016x}", record)
    assert await store.access.store_uses() == USED_MAX


async def test_uses_that_cannot_be_stored_end_nothing(store: Store, replica: MemoryReplica) -> None:
    await change(store, PutUser("ada", b"{}"), CreateToken(ID, "ada", bytes(32), 1))
    record = store.access.token(ID)
    assert record is not None
    naps = 0

    async def sleep(seconds: float) -> None:
        nonlocal naps
        assert seconds == LOOK_S
        naps += 1
        if naps == 4:
            raise asyncio.CancelledError
        store.access.note_use(ID, record)
        replica.write_error = (NotLeader(), OutcomeUnknown("late"), None)[naps - 1]

    with pytest.raises(asyncio.CancelledError):
        await TokenUses(store.access, sleep).run()
    assert naps == 4
    stored = store.access.token(ID)
    assert stored is not None
    assert stored.used_ms == replica.wall_ms()
