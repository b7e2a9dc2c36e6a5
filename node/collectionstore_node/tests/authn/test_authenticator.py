"""From what a request brings to its caller, and whether that still holds: with real tokens, keys and passwords."""

from __future__ import annotations

import asyncio
import base64

import pytest

from collectionstore_node.access.callers import Method
from collectionstore_node.access.configuration import (
    ClaimRule,
    JwtIssuer,
    ServiceAccountRule,
    ServiceAccounts,
)
from collectionstore_node.access.modes import Mode
from collectionstore_node.authn.authenticator import ADDRESS_FREE, GUESSES_MAX, USER_FREE, Authenticator
from collectionstore_node.authn.identities import Identity, Presented
from collectionstore_node.authn.key_sources import KeySources
from collectionstore_node.authn.passwords import Passwords
from collectionstore_node.authn.refusals import Reason, Refused, TooManyAttempts
from collectionstore_node.errors import NotNow
from collectionstore_node.tests.authn.directories import MemoryDirectory
from collectionstore_node.tests.authn.issuers import AUDIENCE, EC, NOW, URL, claims, key_set, token
from collectionstore_node.tests.authn.test_key_sources import KEYS_URL, Web

ISSUER = JwtIssuer(
    issuer=URL,
    audiences=(AUDIENCE,),
    jwks_url=KEYS_URL,
    user_prefix="corp:",
    rules=(ClaimRule(claim="groups", values=("admins",), roles=("admin",)),),
)


class Bench:
    """An authenticator with its clocks, its directory and its web."""

    def __init__(self) -> None:
        self.wall = float(NOW)
        self.clock = 100.0
        self.directory = MemoryDirectory()
        self.web = Web()
        self.caught_up = 0
        self.behind: list[object] = []
        """What this member learns when it catches up."""
        self.passwords = Passwords()
        self.local: str | None = None
        self.authenticator = Authenticator(
            self.directory,
            lambda changed: KeySources(self.web, lambda: self.clock, changed),
            self.passwords,
            cluster_id="shop",
            wall_s=lambda: self.wall,
            clock=lambda: self.clock,
            catch_up=self._catch_up,
            local=lambda header: header == self.local,
        )

    async def _catch_up(self) -> None:
        self.caught_up += 1
        for error in self.behind:
            if isinstance(error, Exception):
                raise error

    async def identify(self, header: str | None, *, network: str = "192.0.2.1", repeated: bool = False) -> Identity:
        presented = Presented(header, address="192.0.2.1", network=network, repeated=repeated)
        return await self.authenticator.identify(presented)

    async def refused(self, header: str | None, *, network: str = "192.0.2.1") -> Reason:
        with pytest.raises(Refused) as caught:
            await self.identify(header, network=network)
        return caught.value.reason


@pytest.fixture
def bench() -> Bench:
    return Bench()


def basic(user: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


# Tokens of the store


async def test_a_token_shows_its_user(bench: Bench) -> None:
    bench.directory.put_user("ada")
    made = bench.directory.put_token("ada", expires_ms=(NOW + 60) * 1000)
    found = await bench.identify(f"Bearer {made.text}")
    caller = found.caller
    assert (caller.user, caller.method, caller.credential) == ("ada", Method.TOKEN, made.id)
    assert (caller.address, caller.expires_s, caller.roles) == ("192.0.2.1", NOW + 60, ())
    assert bench.directory.used == [made.id]


async def test_wrong_unknown_and_damaged_tokens_are_refused_alike(bench: Bench) -> None:
    bench.directory.put_user("ada")
    made = bench.directory.put_token("ada")
    other = bench.directory.put_token("ada")
    mixed = f"cst_{made.id}_{other.text.rpartition('_')[2]}"
    for text in (mixed, "cst_ffffffffffffffff_" + "A" * 43, "cst_x", "cst_", made.text + "A", made.text[:-1]):
        assert await bench.refused(f"Bearer {text}") is Reason.UNKNOWN, text


async def test_an_expired_token_is_refused_to_the_second(bench: Bench) -> None:
    bench.directory.put_user("ada")
    made = bench.directory.put_token("ada", expires_ms=(NOW + 60) * 1000)
    found = await bench.identify(f"Bearer {made.text}")
    bench.wall += 59.9
    assert bench.authenticator.is_current(found)
    bench.wall += 0.1
    assert not bench.authenticator.is_current(found)
    assert bench.authenticator.renew(found) is None
    assert await bench.refused(f"Bearer {made.text}") is Reason.EXPIRED


async def test_a_revoked_token_is_not_remembered(bench: Bench) -> None:
    bench.directory.put_user("ada")
    made = bench.directory.put_token("ada")
    found = await bench.identify(f"Bearer {made.text}")
    bench.directory.revoke(made.id)
    assert not bench.authenticator.is_current(found)
    assert bench.authenticator.renew(found) is None
    assert await bench.refused(f"Bearer {made.text}") is Reason.UNKNOWN, "replayed after it was revoked"


async def test_a_disabled_or_deleted_user_has_no_token(bench: Bench) -> None:
    bench.directory.put_user("ada")
    made = bench.directory.put_token("ada")
    found = await bench.identify(f"Bearer {made.text}")
    bench.directory.put_user("ada", disabled=True)
    assert bench.authenticator.renew(found) is None
    assert await bench.refused(f"Bearer {made.text}") is Reason.DISABLED
    bench.directory.put_user("ada")
    assert (await bench.identify(f"Bearer {made.text}")).caller.user == "ada"
    bench.directory.drop_user("ada")
    assert await bench.refused(f"Bearer {made.text}") is Reason.DISABLED


async def test_a_rotated_secret_overlaps_with_the_one_before(bench: Bench) -> None:
    bench.directory.put_user("ada")
    made, new = bench.directory.put_token("ada"), bench.directory.put_token("ada")
    before = await bench.identify(f"Bearer {made.text}")
    bench.directory.change_token(made.id, digest=new.digest, previous=made.digest, previous_until_ms=(NOW + 10) * 1000)
    renewed = bench.authenticator.renew(before)
    assert renewed is not None
    assert renewed.caller.expires_s == NOW + 10
    assert (await bench.identify(f"Bearer cst_{made.id}_{new.text.rpartition('_')[2]}")).caller.user == "ada"
    bench.wall += 10
    assert bench.authenticator.renew(renewed) is None


async def test_a_token_that_is_new_is_looked_for_once_this_member_has_caught_up(bench: Bench) -> None:
    bench.directory.put_user("ada")
    made = bench.directory.put_token("ada")
    record = bench.directory.tokens.pop(made.id)

    async def catch_up() -> None:
        bench.caught_up += 1
        bench.directory.tokens[made.id] = record

    bench.authenticator._catch_up = catch_up
    assert (await bench.identify(f"Bearer {made.text}")).caller.user == "ada"
    assert bench.caught_up == 1


async def test_made_up_tokens_share_one_confirmation_at_a_time(bench: Bench) -> None:
    going_on = asyncio.Event()

    async def catch_up() -> None:
        bench.caught_up += 1
        await going_on.wait()

    bench.authenticator._catch_up = catch_up
    asked = [asyncio.ensure_future(bench.refused(f"Bearer cst_{at:016x}_{'A' * 43}")) for at in range(50)]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    going_on.set()
    assert set(await asyncio.gather(*asked)) == {Reason.UNKNOWN}
    assert bench.caught_up == 2  # the first, and one for all who came while it was under way


async def test_a_confirmation_that_began_before_a_token_was_made_does_not_refuse_it(bench: Bench) -> None:
    bench.directory.put_user("ada")
    made = bench.directory.put_token("ada")
    record = bench.directory.tokens.pop(made.id)
    begun, going_on = asyncio.Event(), asyncio.Event()

    async def catch_up() -> None:
        bench.caught_up += 1
        begun.set()
        if bench.caught_up == 1:
            await going_on.wait()
        else:
            bench.directory.tokens[made.id] = record

    bench.authenticator._catch_up = catch_up
    stranger = asyncio.ensure_future(bench.refused(f"Bearer cst_{0:016x}_{'A' * 43}"))
    await begun.wait()
    ada = asyncio.ensure_future(bench.identify(f"Bearer {made.text}"))
    await asyncio.sleep(0)
    going_on.set()
    assert (await ada).caller.user == "ada"
    assert await stranger is Reason.UNKNOWN


async def test_without_a_leader_an_unknown_token_is_no_wrong_one(bench: Bench) -> None:
    bench.behind = [NotNow("no leader")]
    with pytest.raises(NotNow):
        await bench.identify(f"Bearer cst_{0:016x}_{'A' * 43}")


async def test_a_remembered_credential_is_shown_from_many_places(bench: Bench) -> None:
    bench.directory.put_user("ada")
    made = bench.directory.put_token("ada")
    first = await bench.identify(f"Bearer {made.text}")
    other = await bench.authenticator.identify(Presented(f"Bearer {made.text}", address="192.0.2.9"))
    assert (first.caller.address, other.caller.address) == ("192.0.2.1", "192.0.2.9")


# Headers


async def test_several_headers_are_refused(bench: Bench) -> None:
    bench.directory.put_user("ada")
    made = bench.directory.put_token("ada")
    with pytest.raises(Refused) as caught:
        await bench.identify(f"Bearer {made.text}", repeated=True)
    assert caught.value.reason is Reason.MALFORMED


async def test_anonymous_callers_need_roles(bench: Bench) -> None:
    assert await bench.refused(None) is Reason.MISSING
    bench.directory.configure(anonymous_roles=("reader",))
    found = await bench.identify(None)
    assert (found.caller.user, found.caller.method) == ("anonymous", Method.ANONYMOUS)
    bench.directory.configure(anonymous_roles=())
    assert bench.authenticator.renew(found) is None


async def test_a_refused_credential_does_not_fall_back_to_anonymous(bench: Bench) -> None:
    bench.directory.configure(anonymous_roles=("reader",))
    assert await bench.refused(f"Bearer cst_{0:016x}_{'A' * 43}") is Reason.UNKNOWN


async def test_what_is_tolerated_ends_when_refusals_are_enforced(bench: Bench) -> None:
    bench.directory.configure(mode=Mode.PERMISSIVE)
    found = bench.authenticator.tolerated("192.0.2.1")
    assert found.caller.method is Method.ANONYMOUS
    assert bench.authenticator.renew(found) is not None
    bench.directory.configure(mode=Mode.ENFORCED)
    assert bench.authenticator.renew(found) is None


async def test_the_token_of_a_local_cluster_is_its_owner(bench: Bench) -> None:
    bench.local = "Bearer the-token-of-the-file"
    found = await bench.identify(bench.local)
    assert (found.caller.user, found.caller.method) == ("local", Method.LOCAL)
    assert "admin" in found.caller.roles
    bench.local = "Bearer another-token"
    assert bench.authenticator.is_current(found), "the file is not read for every request"
    bench.wall += 2
    assert not bench.authenticator.is_current(found)
    assert bench.authenticator.renew(found) is None


# Passwords


async def test_a_password_shows_its_user_until_it_is_changed(bench: Bench) -> None:
    bench.directory.put_user("ada", password=await bench.passwords.hash("correct horse"))
    found = await bench.identify(basic("ada", "correct horse"))
    assert (found.caller.user, found.caller.method) == ("ada", Method.PASSWORD)
    assert await bench.refused(basic("ada", "wrong horse")) is Reason.UNKNOWN
    assert await bench.refused(basic("bob", "correct horse")) is Reason.UNKNOWN
    bench.directory.put_user("ada", password=await bench.passwords.hash("battery staple"))
    assert bench.authenticator.renew(found) is None


async def test_a_remembered_password_is_not_hashed_again(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.directory.put_user("ada", password=await bench.passwords.hash("correct horse"))
    await bench.identify(basic("ada", "correct horse"))

    async def verify(password: str, hashed: str | None) -> bool:
        raise AssertionError

    monkeypatch.setattr(bench.passwords, "verify", verify)
    assert (await bench.identify(basic("ada", "correct horse"))).caller.user == "ada"


async def test_a_pool_that_shows_one_password_many_times_at_once_costs_one_check(bench: Bench) -> None:
    bench.directory.put_user("ada", password=await bench.passwords.hash("correct horse"))
    checks = 0
    verify = bench.passwords.verify

    async def counted(password: str, hashed: str | None) -> bool:
        nonlocal checks
        checks += 1
        return await verify(password, hashed)

    bench.passwords.verify = counted  # type: ignore[method-assign]
    header = basic("ada", "correct horse")
    found = await asyncio.gather(*(bench.identify(header) for _ in range(40)))
    assert {one.caller.user for one in found} == {"ada"}
    assert checks == 1


class Instant:
    """Passwords without the price."""

    waiting = 0

    def __init__(self) -> None:
        self.checked: list[str | None] = []

    async def verify(self, password: str, hashed: str | None) -> bool:
        self.checked.append(hashed)
        await asyncio.sleep(0)
        return password == hashed


@pytest.fixture
def instant(bench: Bench) -> Instant:
    found = bench.authenticator.passwords = Instant()  # type: ignore[assignment]
    bench.directory.put_user("ada", password="right")
    return found


@pytest.mark.parametrize("user", ["ada", "nobody"])
async def test_guesses_of_one_user_are_slowed_whether_it_exists_or_not(
    bench: Bench, instant: Instant, user: str
) -> None:
    for at in range(USER_FREE):
        assert await bench.refused(basic(user, f"guess-{at}"), network=f"10.0.0.{at}") is Reason.UNKNOWN
    assert await bench.refused(basic(user, "guess-x"), network="10.0.1.1") is Reason.UNKNOWN
    checked = len(instant.checked)
    with pytest.raises(TooManyAttempts) as caught:
        await bench.identify(basic(user, "right"), network="10.0.1.2")
    assert caught.value.retry_after_s == 1.0
    assert len(instant.checked) == checked, "refused before anything is checked"
    bench.clock += 1.0
    if user == "ada":
        assert (await bench.identify(basic(user, "right"), network="10.0.1.2")).caller.user == "ada"


async def test_guesses_from_one_address_are_slowed_over_all_users(bench: Bench, instant: Instant) -> None:
    for at in range(ADDRESS_FREE + 1):
        assert await bench.refused(basic(f"user-{at}", "guess"), network="10.0.0.1") is Reason.UNKNOWN
    with pytest.raises(TooManyAttempts):
        await bench.identify(basic("ada", "right"), network="10.0.0.1")
    assert (await bench.identify(basic("ada", "right"), network="10.0.0.2")).caller.user == "ada"


async def test_guesses_elsewhere_do_not_lock_out_who_knows_the_password(bench: Bench, instant: Instant) -> None:
    assert (await bench.identify(basic("ada", "right"), network="10.0.0.1")).caller.user == "ada"
    for at in range(2 * USER_FREE):
        bench.clock += 61
        with pytest.raises((Refused, TooManyAttempts)):
            await bench.identify(basic("ada", f"guess-{at}"), network="10.6.6.6")
    bench.authenticator._remembered.clear()
    assert (await bench.identify(basic("ada", "right"), network="10.0.0.1")).caller.user == "ada"


async def test_many_different_passwords_at_once_are_guesses(bench: Bench, instant: Instant) -> None:
    asked = [asyncio.ensure_future(bench.identify(basic("ada", f"guess-{at}"))) for at in range(3 * GUESSES_MAX)]
    found = await asyncio.gather(*asked, return_exceptions=True)
    assert sum(isinstance(one, TooManyAttempts) for one in found) == 2 * GUESSES_MAX
    assert len(instant.checked) == GUESSES_MAX


# JWTs and ServiceAccounts


async def test_a_token_of_an_issuer_shows_its_user_and_roles(bench: Bench) -> None:
    bench.directory.configure(jwt=(ISSUER,))
    found = await bench.identify(f"Bearer {token(claims(groups=['people', 'admins'], jti='t-1'))}")
    caller = found.caller
    assert (caller.user, caller.method, caller.roles) == ("corp:ada", Method.JWT, ("admin",))
    assert (caller.credential, caller.expires_s) == ("t-1", NOW + 600)


async def test_a_bearer_is_evaluated_again_by_the_rules_of_now(bench: Bench) -> None:
    bench.directory.configure(jwt=(ISSUER,))
    found = await bench.identify(f"Bearer {token(claims(groups='admins'))}")
    assert found.caller.roles == ("admin",)
    bench.directory.configure(jwt=(_with(rules=()),))
    renewed = bench.authenticator.renew(found)
    assert renewed is not None
    assert renewed.caller.roles == ()
    bench.directory.configure(jwt=(_with(audiences=("other",)),))
    assert bench.authenticator.renew(renewed) is None
    bench.directory.configure(jwt=())
    assert await bench.refused(f"Bearer {token()}") is Reason.UNKNOWN


def _with(**given: object) -> JwtIssuer:
    from msgspec.structs import replace

    return replace(ISSUER, **given)


async def test_a_rotated_key_ends_the_tokens_of_the_one_before(bench: Bench) -> None:
    bench.directory.configure(jwt=(ISSUER,))
    found = await bench.identify(f"Bearer {token()}")
    bench.web.at[KEYS_URL] = key_set(EC)
    bench.clock += 300
    await bench.authenticator.keys.tend()
    source = bench.authenticator.keys.get(URL)
    assert source is not None
    assert source.fetching is not None
    await source.fetching
    assert not bench.authenticator.is_current(found)
    assert bench.authenticator.renew(found) is None
    assert (await bench.identify(f"Bearer {token(key=EC, algorithm='ES256')}")).caller.user == "corp:ada"


async def test_without_its_keys_nothing_of_an_issuer_is_accepted(bench: Bench) -> None:
    bench.directory.configure(jwt=(ISSUER,))
    bench.web.at.clear()
    assert await bench.refused(f"Bearer {token()}") is Reason.KEYS


async def test_no_token_is_asked_for_from_an_algorithm_that_is_not_allowed(bench: Bench) -> None:
    bench.directory.configure(jwt=(ISSUER,))
    assert await bench.refused(f"Bearer {token(algorithm='PS256')}") is Reason.SIGNATURE
    assert not bench.web.asked, "no key is fetched for it"


@pytest.mark.parametrize("subject", ["a b", "ada\n", "", 5, None, "ü", "x" * 200])
async def test_a_subject_that_is_no_name_is_nobody(bench: Bench, subject: object) -> None:
    bench.directory.configure(jwt=(_with(user_prefix=""),))
    assert await bench.refused(f"Bearer {token(claims(sub=subject))}") in (Reason.UNMAPPED, Reason.MALFORMED)


@pytest.mark.parametrize("subject", ["operator", "anonymous"])
async def test_a_subject_takes_no_reserved_name(bench: Bench, subject: str) -> None:
    bench.directory.configure(jwt=(_with(user_prefix=""),))
    assert await bench.refused(f"Bearer {token(claims(sub=subject))}") is Reason.UNMAPPED


async def test_a_disabled_user_has_no_token_of_others_either(bench: Bench) -> None:
    bench.directory.configure(jwt=(ISSUER,))
    bench.directory.put_user("corp:ada", disabled=True)
    assert await bench.refused(f"Bearer {token()}") is Reason.DISABLED


async def test_a_service_account_is_mapped_by_the_first_rule(bench: Bench) -> None:
    rules = (
        ServiceAccountRule(namespace="shop", name="api", user="shop-api", roles=("writer",)),
        ServiceAccountRule(namespace="shop", roles=("reader",)),
    )
    accounts = ServiceAccounts(audiences=(AUDIENCE,), issuer=URL, jwks_url=KEYS_URL, rules=rules)
    bench.directory.configure(service_accounts=accounts)
    for name, user, roles in (
        ("api", "shop-api", ("writer",)),
        ("web", "system:serviceaccount:shop:web", ("reader",)),
    ):
        found = await bench.identify(f"Bearer {token(claims(sub=f'system:serviceaccount:shop:{name}'))}")
        assert (found.caller.user, found.caller.roles) == (user, roles)
        assert found.caller.method is Method.SERVICE_ACCOUNT
    for subject in ("system:serviceaccount:other:api", "system:serviceaccount:shop", "api", "x:shop:api"):
        assert await bench.refused(f"Bearer {token(claims(sub=subject))}") is Reason.UNMAPPED
    other = token(claims(sub="system:serviceaccount:shop:api", aud="https://kubernetes.default.svc"))
    assert await bench.refused(f"Bearer {other}") is Reason.AUDIENCE, "it is bound to the API server"
