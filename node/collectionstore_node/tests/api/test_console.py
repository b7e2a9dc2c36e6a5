"""The files of the console: complete, small, cached, and without anything that its policy would not let run.

What the page does in a browser: tests/console.
"""

from __future__ import annotations

import gzip
import re

import pytest

from collectionstore_node.api.console.serving import ASSETS
from collectionstore_node.tests.api.http_clients import Client

WIRE_BYTES_MAX = 150 * 1024
FILE_BYTES_MAX = 64 << 10
"""A larger file would take more than a millisecond or two to compress, on the event loop."""
PAGE = "console.html"
PARTS = sorted({*ASSETS} - {PAGE})
TYPES = {"css": "text/css; charset=utf-8", "js": "text/javascript; charset=utf-8", "svg": "image/svg+xml"}
GZIP = {"Accept-Encoding": "gzip, deflate"}
PLAIN = {"Accept-Encoding": "identity"}
POLICY = {
    "default-src": "'none'",
    "script-src": "'self'",
    "style-src": "'self'",
    "img-src": "'self'",
    "connect-src": "'self'",
    "base-uri": "'none'",
    "form-action": "'none'",
    "frame-ancestors": "'none'",
    "require-trusted-types-for": "'script'",
    "trusted-types": "'none'",
}


def text(name: str) -> str:
    return ASSETS[name].content.decode()


@pytest.mark.parametrize("target", ["/console", "/console/console.js", "/docs", "/docs/page.js"])
async def test_pages_run_nothing_but_their_own_files(client: Client, target: str) -> None:
    reply = await client.get(target)

    assert reply.status == 200
    directives = (one.strip().partition(" ") for one in reply.headers["Content-Security-Policy"].split(";"))
    assert {name: value for name, _, value in directives} == POLICY
    assert reply.headers["X-Content-Type-Options"] == "nosniff"
    assert reply.headers["X-Frame-Options"] == "DENY"
    assert reply.headers["Referrer-Policy"] == "no-referrer"
    assert reply.headers["Cross-Origin-Opener-Policy"] == "same-origin"


@pytest.mark.parametrize("name", PARTS)
async def test_every_part_is_served_with_its_type(client: Client, name: str) -> None:
    plain = await client.send("GET", f"/console/{name}", headers=PLAIN)

    assert (plain.status, plain.body) == (200, ASSETS[name].content)
    assert plain.headers["Content-Type"] == TYPES[name.rpartition(".")[2]]
    assert "Content-Encoding" not in plain.headers


async def test_the_page_is_html(client: Client) -> None:
    reply = await client.get("/console")

    assert reply.headers["Content-Type"] == "text/html; charset=utf-8"
    assert reply.body == ASSETS[PAGE].content


async def test_a_client_that_takes_gzip_gets_it(client: Client) -> None:
    zipped = await client.send("GET", "/console", headers=GZIP)
    plain = await client.send("GET", "/console", headers=PLAIN)

    assert zipped.headers["Content-Encoding"] == "gzip"
    assert int(zipped.headers["Content-Length"]) < int(plain.headers["Content-Length"])
    assert zipped.body == plain.body  # the client has unpacked it
    assert zipped.headers["ETag"] != plain.headers["ETag"]
    assert zipped.headers["Vary"] == plain.headers["Vary"] == "Accept-Encoding"


@pytest.mark.parametrize("accepted", ["gzip;q=0", "gzip; q=0.0", "br", "", "identity"])
async def test_a_client_that_does_not_take_gzip_gets_the_file(client: Client, accepted: str) -> None:
    reply = await client.send("GET", "/console", headers={"Accept-Encoding": accepted})

    assert "Content-Encoding" not in reply.headers
    assert reply.body == ASSETS[PAGE].content


@pytest.mark.parametrize("encoding", [GZIP, PLAIN], ids=["gzip", "plain"])
@pytest.mark.parametrize("form", ["{}", "W/{}", '"other", {}', "*"])
async def test_what_the_client_has_is_not_sent_again(client: Client, encoding: dict[str, str], form: str) -> None:
    first = await client.send("GET", "/console/console.js", headers=encoding)
    tag = first.headers["ETag"]

    again = await client.send("GET", "/console/console.js", headers=encoding | {"If-None-Match": form.format(tag)})

    assert (again.status, again.body) == (304, b"")
    assert again.headers["ETag"] == tag
    assert again.headers["Cache-Control"] == first.headers["Cache-Control"] == "no-cache"


async def test_another_tag_is_sent_the_file(client: Client) -> None:
    reply = await client.send("GET", "/console/console.js", headers={"If-None-Match": '"0123456789"'})

    assert (reply.status, reply.body) == (200, ASSETS["console.js"].content)


async def test_a_tag_that_is_none_is_refused(client: Client) -> None:
    reply = await client.send("GET", "/console/console.js", headers={"If-None-Match": "console"})

    reply.problem(400, "invalid_precondition")


async def test_a_head_has_no_body(client: Client) -> None:
    reply = await client.send("HEAD", "/console", headers=PLAIN)

    assert (reply.status, reply.body) == (200, b"")
    assert int(reply.headers["Content-Length"]) == len(ASSETS[PAGE].content)


@pytest.mark.parametrize(
    "path",
    ["nothing.js", PAGE, "views", "views/", "../serving.py", "..%2fserving.py", "%2e%2e/serving.py", "console.js%00"],
)
async def test_what_is_no_part_is_not_found(client: Client, path: str) -> None:
    (await client.get(f"/console/{path}")).problem(404, "unknown_route")


async def test_unknown_parameters_are_refused(client: Client) -> None:
    (await client.get("/console?token=x")).problem(400, "unknown_parameter")


def test_the_whole_console_is_small_on_the_wire() -> None:
    assert sum(len(one.compressed) for one in ASSETS.values()) < WIRE_BYTES_MAX
    assert max(len(one.content) for one in ASSETS.values()) <= FILE_BYTES_MAX


def test_compressed_files_are_the_same_on_every_member() -> None:
    for one in ASSETS.values():
        assert one.compressed == gzip.compress(one.content, mtime=0)
        assert gzip.decompress(one.compressed) == one.content


def test_the_page_has_no_script_or_style_of_its_own() -> None:
    page = text(PAGE)

    assert not re.search(r"<script(?![^>]*\bsrc=)|<style|\sstyle=|\son[a-z]+=|javascript:", page)
    for target in re.findall(r'(?:src|href)="([^"#]+)"', page):
        assert target == "/openapi.json" or target.removeprefix("/console/") in ASSETS, target


def test_the_page_asks_for_all_modules_at_once() -> None:
    """One after the other, as each names the next, they would take several round trips."""
    preloaded = re.findall(r'<link rel="modulepreload" href="/console/([^"]+)">', text(PAGE))

    assert sorted([*preloaded, "console.js", "theme.js"]) == [one for one in PARTS if one.endswith(".js")]


@pytest.mark.parametrize("name", [one for one in PARTS if one.endswith(".js")])
def test_scripts_make_no_markup_of_text_and_use_no_other_host(name: str) -> None:
    script = text(name)

    assert not re.search(
        r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|createContextualFragment|DOMParser|srcdoc|setHTML"
        r"|\beval\b|\bFunction\(|setTimeout\(\s*[\"'`]|\.style\b|localStorage(?!\.(?:get|set|remove)Item\(KEY)",
        script,
    ), "text becomes text nodes, and nothing else"
    assert {*re.findall(r"https?://[^\s\"'`]+", script)} <= {"http://www.w3.org/2000/svg"}
    folder = name.rpartition("/")[0]
    for target in re.findall(r'from "([^"]+)"', script):
        parts: list[str] = folder.split("/") if folder else []
        for part in target.split("/"):
            if part == "..":
                parts.pop()
            elif part != ".":
                parts.append(part)
        assert "/".join(parts) in ASSETS, target


def test_credentials_are_kept_in_the_session_storage_alone() -> None:
    users = [
        name for name in PARTS if re.search(r"sessionStorage|localStorage|indexedDB|\bcookie\b|caches\.", text(name))
    ]

    assert users == ["session.js", "theme.js"]
    assert "localStorage" not in text("session.js")
    assert "sessionStorage" not in text("theme.js")
