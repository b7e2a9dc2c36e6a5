"""Keys over real connections: https only, no redirects, bounded, by the authorities that are named."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import web

from collectionstore_node.authn.fetching import ApiServerAccess, KeyFetch
from collectionstore_node.authn.key_sources import Unavailable
from collectionstore_node.authn.keysets import KEY_SET_BYTES_MAX
from collectionstore_node.tests.authn.issuers import key_set
from collectionstore_node.tests.transport.doubles import Authority


class Issuer:
    """An https server with keys."""

    def __init__(self, folder: Path) -> None:
        self.authority = Authority("authority of the issuer")
        self.files = self.authority.issue(folder / "issuer", "issuer")
        self.ca = self.authority.pem.decode()
        self.asked: list[tuple[str, str | None]] = []
        self.url = ""

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self.asked.append((request.path, request.headers.get("Authorization")))
        match request.path:
            case "/keys" | "/openid/v1/jwks":
                return web.Response(body=key_set())
            case "/moved":
                raise web.HTTPFound(f"{self.url}/keys")
            case "/endless":
                response = web.StreamResponse()
                await response.prepare(request)
                for _ in range(2 * KEY_SET_BYTES_MAX // 65_536):
                    await response.write(b" " * 65_536)
                return response
            case "/exactly":
                return web.Response(body=b" " * KEY_SET_BYTES_MAX)
        raise web.HTTPNotFound


@pytest.fixture
async def issuer(tmp_path: Path) -> AsyncIterator[Issuer]:
    found = Issuer(tmp_path)
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(found.files.certificate, found.files.key)
    app = web.Application()
    app.router.add_get("/{path:.*}", found.answer)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls).start()
    found.url = f"https://127.0.0.1:{runner.addresses[0][1]}"
    yield found
    await runner.cleanup()


@pytest.fixture
async def fetch(tmp_path: Path) -> AsyncIterator[KeyFetch]:
    (tmp_path / "keys").mkdir()
    found = KeyFetch(tmp_path / "keys")
    yield found
    await found.close()


async def test_keys_are_read_by_the_authority_that_is_named(issuer: Issuer, fetch: KeyFetch) -> None:
    assert await fetch.url(f"{issuer.url}/keys", issuer.ca) == key_set()
    assert len(await fetch.url(f"{issuer.url}/exactly", issuer.ca)) == KEY_SET_BYTES_MAX


@pytest.mark.parametrize(
    ("path", "reason"),
    [("/moved", "it answers 302"), ("/none", "it answers 404"), ("/endless", "it answers more than")],
)
async def test_other_answers_are_no_keys(issuer: Issuer, fetch: KeyFetch, path: str, reason: str) -> None:
    with pytest.raises(Unavailable, match=reason):
        await fetch.url(issuer.url + path, issuer.ca)
    assert [path for path, _ in issuer.asked] == [path], "a redirect is not followed"


async def test_a_server_that_nobody_vouches_for_is_not_asked(issuer: Issuer, fetch: KeyFetch) -> None:
    for ca in ("", Authority("other").pem.decode()):
        with pytest.raises(Unavailable, match="cannot be reached"):
            await fetch.url(f"{issuer.url}/keys", ca)
    with pytest.raises(Unavailable, match="cannot be read"):
        await fetch.url(f"{issuer.url}/keys", "no certificate")
    assert not issuer.asked


@pytest.mark.parametrize("url", ["http://127.0.0.1:1/keys", "file:///etc/passwd", "ftp://x", "HTTPS://x", ""])
async def test_other_schemes_are_not_read(fetch: KeyFetch, url: str) -> None:
    with pytest.raises(Unavailable, match="https"):
        await fetch.url(url, "")


async def test_the_api_server_is_asked_with_the_token_of_now(issuer: Issuer, tmp_path: Path) -> None:
    (tmp_path / "token").write_text("first\n")
    fetch = KeyFetch(None, ApiServerAccess(issuer.url, issuer.files.ca, tmp_path / "token"))
    assert await fetch.api_server("/openid/v1/jwks") == key_set()
    (tmp_path / "token").write_text("second\n")
    assert await fetch.api_server("/openid/v1/jwks") == key_set()
    assert [shown for _, shown in issuer.asked] == ["Bearer first", "Bearer second"]
    (tmp_path / "token").unlink()
    with pytest.raises(Unavailable, match="ServiceAccount"):
        await fetch.api_server("/openid/v1/jwks")
    await fetch.close()


async def test_without_kubernetes_there_is_no_api_server(fetch: KeyFetch) -> None:
    with pytest.raises(Unavailable, match="COLLECTIONSTORE_API_SERVER"):
        await fetch.api_server("/openid/v1/jwks")


async def test_files_are_in_their_folder_alone(fetch: KeyFetch, tmp_path: Path) -> None:
    (tmp_path / "keys" / "corp.json").write_bytes(key_set())
    (tmp_path / "secret").write_bytes(b"x")
    assert await fetch.file("corp.json") == key_set()
    for name in ("../secret", "/etc/passwd", "..", ".hidden", "a/b"):
        with pytest.raises(Unavailable, match="without a path"):
            await fetch.file(name)
    with pytest.raises(Unavailable, match="No such file"):
        await fetch.file("none.json")
    with pytest.raises(Unavailable, match="COLLECTIONSTORE_KEYS_DIR"):
        await KeyFetch().file("corp.json")
