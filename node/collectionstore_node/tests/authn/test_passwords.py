"""Passwords: argon2id, of bounded cost, and the same for users who do not exist."""

from __future__ import annotations

import asyncio

import pytest
from argon2 import PasswordHasher, Type

from collectionstore_node.authn.passwords import Passwords, is_usable
from collectionstore_node.errors import Overloaded


async def test_a_password_matches_its_own_hash_only() -> None:
    passwords = Passwords()
    hashed = await passwords.hash("correct horse")
    assert hashed.startswith("$argon2id$v=19$m=19456,t=2,p=1$")
    assert await passwords.verify("correct horse", hashed)
    assert not await passwords.verify("wrong horse", hashed)
    assert hashed != await passwords.hash("correct horse"), "each has a salt of its own"
    passwords.close()


async def test_a_user_who_does_not_exist_costs_a_check_as_well(monkeypatch: pytest.MonkeyPatch) -> None:
    from collectionstore_node.authn import passwords as module

    checked: list[str] = []
    verify = module._verify

    def counted(hashed: str, password: str) -> bool:
        checked.append(hashed)
        return verify(hashed, password)

    monkeypatch.setattr(module, "_verify", counted)
    passwords = Passwords()
    hashed = await passwords.hash("secret-1")
    assert not await passwords.verify("secret-2", hashed)
    assert not await passwords.verify("secret-2", None)
    assert not await passwords.verify("secret-2", "$2b$12$bcrypt")
    known, unknown, foreign = checked
    parameters = [one.split("$")[3] for one in (known, unknown, foreign)]
    assert len(set(parameters)) == 1, "the same memory, passes and lanes: it takes as long"
    assert unknown == foreign, "a hash that no password has"
    passwords.close()


def test_hashes_of_another_kind_or_price_are_not_checked() -> None:
    assert is_usable(PasswordHasher().hash("x")), "the default of argon2-cffi"
    assert not is_usable(PasswordHasher(type=Type.I, time_cost=1, memory_cost=8, parallelism=1).hash("x"))
    for text in (
        "",
        "x",
        "$argon2id$v=19$m=9999999,t=2,p=1$c29tZXNhbHQ$c29tZWhhc2g",
        "$argon2id$v=19$m=8,t=99,p=1$c29tZXNhbHQ$c29tZWhhc2g",
        "$argon2id$v=19$m=64,t=1,p=99$c29tZXNhbHQ$c29tZWhhc2g",
        "$argon2id$v=19$m=" + "9" * 400,
    ):
        assert not is_usable(text), text


async def test_more_than_can_wait_are_refused_before_they_begin() -> None:
    passwords = Passwords(threads=1, waiting_max=2)
    first = asyncio.gather(passwords.hash("one-one-1"), passwords.hash("two-two-2"))
    await asyncio.sleep(0)
    assert passwords.waiting == 2
    with pytest.raises(Overloaded):
        await passwords.hash("three")
    await first
    assert passwords.waiting == 0
    passwords.close()


async def test_a_client_that_leaves_keeps_its_place_until_its_thread_is_free() -> None:
    passwords = Passwords(threads=1, waiting_max=1)
    leaving = asyncio.ensure_future(passwords.hash("one-one-1"))
    await asyncio.sleep(0)
    leaving.cancel()
    await asyncio.wait((leaving,))
    with pytest.raises(Overloaded):
        await passwords.hash("two")
    # Behind what its only thread is at.
    await asyncio.get_running_loop().run_in_executor(passwords._executor, int)
    assert passwords.waiting == 0
    assert await passwords.hash("two")
    passwords.close()
