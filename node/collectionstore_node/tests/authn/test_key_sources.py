"""The keys of issuers: fetched, kept while an issuer is away, rotated, and dropped when they are too old."""

from __future__ import annotations

import json

import pytest

from collectionstore_node.authn.key_sources import AGAIN_S, REFRESH_S, KeySources, Place, Source, Unavailable
from collectionstore_node.tests.authn.issuers import EC, RSA, URL, key_set

KEYS_URL = f"{URL}/keys"


class Web:
    """Implements `Fetch` from a dictionary; what is missing is away."""

    def __init__(self) -> None:
        self.at: dict[str, bytes] = {KEYS_URL: key_set(RSA)}
        self.asked: list[str] = []

    async def url(self, url: str, ca: str) -> bytes:
        self.asked.append(url)
        try:
            return self.at[url]
        except KeyError:
            raise Unavailable("it cannot be reached") from None

    async def api_server(self, path: str) -> bytes:
        return await self.url(f"api:{path}", "")

    async def file(self, name: str) -> bytes:
        return await self.url(f"file:{name}", "")


class Bench:
    def __init__(self) -> None:
        self.now = 1_000.0
        self.web = Web()
        self.changes = 0
        self.sources = KeySources(self.web, lambda: self.now, self.changed)

    def changed(self) -> None:
        self.changes += 1

    def use(self, place: Place) -> Source:
        self.sources.configure({"corp": place})
        source = self.sources.get("corp")
        assert source is not None
        return source

    async def tend(self) -> None:
        await self.sources.tend()
        for source in self.sources:
            if source.fetching is not None:
                await source.fetching


@pytest.fixture
def bench() -> Bench:
    return Bench()


BY_URL = Place(URL, url=KEYS_URL, max_age_s=3_600.0)


async def test_keys_are_fetched_and_refreshed_before_they_are_needed(bench: Bench) -> None:
    source = bench.use(BY_URL)
    await bench.tend()
    assert source.keys.find("rsa", "RS256") is not None
    assert bench.sources.of_issuer(URL) is source
    bench.now += REFRESH_S - 1
    await bench.tend()
    assert len(bench.web.asked) == 1
    bench.now += 1
    await bench.tend()
    assert len(bench.web.asked) == 2
    assert bench.changes == 0, "the same keys end nothing"


async def test_a_key_that_has_gone_ends_what_it_has_signed(bench: Bench) -> None:
    source = bench.use(BY_URL)
    await bench.tend()
    bench.web.at[KEYS_URL] = key_set(EC)
    bench.now += REFRESH_S
    await bench.tend()
    assert source.keys.find("rsa", "RS256") is None
    assert bench.changes == 1


async def test_a_new_key_is_looked_for_at_once_but_not_for_every_made_up_id(bench: Bench) -> None:
    source = bench.use(BY_URL)
    await bench.tend()
    bench.web.at[KEYS_URL] = key_set(RSA, EC)
    bench.now += AGAIN_S
    for _ in range(100):
        await bench.sources.look_again(source)
    assert len(bench.web.asked) == 2
    assert source.keys.find("ec", "ES256") is not None


async def test_an_issuer_that_is_away_changes_nothing_until_its_keys_are_too_old(bench: Bench) -> None:
    source = bench.use(BY_URL)
    await bench.tend()
    del bench.web.at[KEYS_URL]
    bench.now += 3_599.0
    await bench.tend()
    assert source.problem == "it cannot be reached"
    assert source.keys.find("rsa", "RS256") is not None
    assert bench.sources.without_keys == 0
    bench.now += 1.0
    await bench.tend()
    assert source.keys.find("rsa", "RS256") is None, "it fails closed"
    assert bench.changes == 1
    assert bench.sources.without_keys == 1
    assert bench.sources.ages_s() == {"corp": 3_600.0}
    bench.web.at[KEYS_URL] = key_set(RSA)
    bench.now += AGAIN_S
    await bench.tend()
    assert source.keys.find("rsa", "RS256") is not None, "and opens again"
    assert source.problem == ""


@pytest.mark.parametrize(
    "text", [b"", b"<html>", b'{"keys": []}', json.dumps({"keys": [{"kty": "oct", "k": "AA"}]}).encode()]
)
async def test_an_answer_that_is_no_key_set_leaves_the_former_keys(bench: Bench, text: bytes) -> None:
    source = bench.use(BY_URL)
    await bench.tend()
    bench.web.at[KEYS_URL] = text
    bench.now += REFRESH_S
    await bench.tend()
    assert source.problem
    assert source.keys.find("rsa", "RS256") is not None
    assert bench.changes == 0


async def test_keys_are_discovered_at_the_issuer(bench: Bench) -> None:
    bench.web.at = {
        f"{URL}/.well-known/openid-configuration": json.dumps({"issuer": URL, "jwks_uri": KEYS_URL}).encode(),
        KEYS_URL: key_set(RSA),
    }
    source = bench.use(Place(URL))
    await bench.tend()
    assert source.keys.find("rsa", "RS256") is not None


@pytest.mark.parametrize(
    "found",
    [
        {"issuer": "https://evil.example", "jwks_uri": KEYS_URL},
        {"issuer": URL, "jwks_uri": "http://issuer.example/keys"},
        {"issuer": URL, "jwks_uri": "file:///etc/passwd"},
        {"issuer": URL},
        {"issuer": URL, "jwks_uri": 5},
        [],
    ],
)
async def test_a_discovery_that_is_of_another_issuer_or_place_is_refused(bench: Bench, found: object) -> None:
    bench.web.at[f"{URL}/.well-known/openid-configuration"] = json.dumps(found).encode()
    source = bench.use(Place(URL))
    await bench.tend()
    assert source.problem
    assert not source.keys.all
    assert KEYS_URL not in bench.web.asked


async def test_the_api_server_says_its_name_and_keys(bench: Bench) -> None:
    bench.web.at = {
        "api:/.well-known/openid-configuration": json.dumps({"issuer": "https://kubernetes.default.svc"}).encode(),
        "api:/openid/v1/jwks": key_set(RSA),
    }
    source = bench.use(Place("", api_server=True))
    assert bench.sources.of_issuer("") is None, "a token without an issuer is nobody's"
    await bench.sources.wait_undiscovered()
    assert bench.sources.of_issuer("https://kubernetes.default.svc") is source


async def test_a_file_is_read_again_soon(bench: Bench) -> None:
    bench.web.at = {"file:keys.json": key_set(RSA)}
    source = bench.use(Place(URL, file="keys.json"))
    await bench.tend()
    bench.web.at["file:keys.json"] = key_set(EC)
    bench.now += 2.0
    await bench.tend()
    assert source.keys.find("ec", "ES256") is not None


async def test_what_stays_configured_keeps_its_keys(bench: Bench) -> None:
    source = bench.use(BY_URL)
    await bench.tend()
    assert bench.use(BY_URL) is source
    other = bench.use(BY_URL._replace(url=f"{URL}/other"))
    assert other is not source
    assert not other.keys.all
    bench.sources.configure({})
    assert bench.sources.get("corp") is None
    await bench.sources.close()
