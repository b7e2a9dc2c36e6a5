"""What holds for every view: names and contrast, phone width, hostile data as text, and what it costs to load."""

from __future__ import annotations

import re
from typing import Protocol

import pytest
from playwright.sync_api import Page, Request, expect

from collectionstore_testkit.browsers.console import DESKTOP, PHONE, Console, Scheme
from collectionstore_testkit.browsers.member import Member, path_of

WIRE_BYTES_MAX = 150 * 1024
BOOKS = {f"b{at:02}": {"title": f"Book {at}", "year": 1900 + at, "tags": ["old", {"x": at}]} for at in range(30)}

VIEWS = {
    "": "Overview",
    "collections": "Collections",
    "collections/books": "books",
    "collections/books/documents/b07": "books",
    "collections/books/new": "books",
    "collections/books/explain?filter=%7B%22year%22%3A1907%7D": "books",
    "collections/books/indexes": "books",
    "collections/books/watch": "books",
    "collections/books/schema": "books",
    "watch": "Changes",
    "access": "Access",
    "audit": "Audit",
    "nothing/here": "Nothing is here",
}

MARKUP = "<img src=x onerror=\"window.hacked='{}'\">"
SCRIPT = "</script><script>window.hacked='{}'</script>"
HOSTILE_IDS = [
    MARKUP.format("id"),
    "javascript:window.hacked='id'",
    "a/b?c#d&e=%2F%00",
    "‮evil ‍ text",
    "' onclick='window.hacked=1' x='",
    "__proto__",
    "constructor",
]
HOSTILE = {
    MARKUP.format("key"): MARKUP.format("value"),
    SCRIPT.format("key"): SCRIPT.format("value"),
    "inner": {"__proto__": {"polluted": True, "toString": MARKUP.format("proto")}},
    "constructor": {"prototype": {"polluted": True}},
    "${window.hacked=1}": "{{window.hacked=1}}",
    "url": "javascript:window.hacked='url'",
    "long": "x" * 20_000,
    "nul": "\u0000\u001b[31m‮",
    "<svg/onload=window.hacked=1>": [["<iframe srcdoc='<script>top.hacked=1</script>'>"]],
}


class Opens(Protocol):
    """The fixture `opened`."""

    def __call__(self, *, size: tuple[int, int] = DESKTOP, scheme: Scheme = "light") -> Console: ...


@pytest.fixture(scope="module")
def books(member: Member) -> None:
    member.fill("books", BOOKS)
    member.send("POST", "/api/v1/collections/books/indexes", {"name": "by_year", "fields": {"year": 1}})
    member.send("PATCH", "/api/v1/collections/books", {"schema": {"document": {"required": ["title"]}}})


@pytest.mark.usefixtures("books")
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_every_view_has_names_contrast_and_fits(opened: Opens, scheme: Scheme, size: tuple[int, int]) -> None:
    console = opened(scheme=scheme, size=size)
    console.open("audit")
    for place, heading in VIEWS.items():
        console.go(place, heading)
        expect(console.page.locator("[aria-busy]")).to_have_count(0)
        console.check_width()
        console.check_names()


@pytest.mark.usefixtures("books")
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_what_views_show_now_and_then_has_names_and_contrast(opened: Opens, member: Member, scheme: Scheme) -> None:
    console = opened(scheme=scheme)
    page = console.page
    console.open("collections/books")
    page.get_by_label("Filter").fill('{"year": {"$near": 1}}')
    page.get_by_role("button", name="Find").click()
    expect(page.get_by_role("alert")).to_be_visible()
    console.check_names()

    console.go("collections/books/documents/b01", "books")
    text = page.get_by_label("The document as JSON")
    text.fill('{"year": 1}')
    page.get_by_role("button", name="Check").click()
    expect(page.get_by_role("alert")).to_be_visible()
    console.check_names()
    text.fill('{"title": "mine"}')
    member.send("PUT", path_of("books", "b01"), {"title": "theirs"})
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_role("button", name="Take the stored one")).to_be_visible()
    console.check_names()
    page.get_by_role("button", name="Take the stored one").click()
    page.get_by_role("button", name="Delete").click()
    expect(page.get_by_role("dialog")).to_be_visible()
    console.check_names()


def test_the_sign_in_has_names_and_contrast(console: Console) -> None:
    console.page.route("**/api/v1/**", lambda route: route.fulfill(status=401, json={"code": "unauthorized"}))
    console.open()

    expect(console.page.get_by_role("heading", name="Sign in")).to_be_visible()
    console.check_names()


@pytest.fixture(scope="module")
def hostile(member: Member) -> Member:
    member.fill("hostile", {one: HOSTILE for one in HOSTILE_IDS})
    field = MARKUP.format("field").replace(".", "")
    member.send("POST", "/api/v1/collections/hostile/indexes", {"name": "odd", "fields": {field: 1}})
    schema = {"title": SCRIPT.format("schema"), "required": [MARKUP.format("name")]}
    member.send("PATCH", "/api/v1/collections/hostile", {"schema": {"document": schema, "mode": "warn"}})
    return member


def _unharmed(page: Page) -> None:
    assert page.evaluate("window.hacked") is None
    assert page.evaluate("({}).polluted") is None
    # Every element is one that the console makes itself.
    assert (
        page.locator("main img, main iframe, main script, main svg[onload], main [onerror], main [onclick]").count()
        == 0
    )
    assert page.locator("a[href^='javascript' i]").count() == 0


def test_hostile_data_is_text_in_every_view(console: Console, hostile: Member) -> None:
    page = console.page
    console.open("collections/hostile")
    ids = page.get_by_role("table", name="Documents of hostile").locator("tbody tr td:first-child")
    expect(ids).to_have_count(len(HOSTILE_IDS))
    assert sorted(ids.all_text_contents()) == sorted(HOSTILE_IDS)
    _unharmed(page)

    for at in range(len(HOSTILE_IDS)):
        console.go("collections/hostile", "hostile")
        link = ids.nth(at).get_by_role("link")
        name = link.text_content()
        link.click()
        expect(page.locator(".path b").last).to_have_text(name or "")
        text = page.get_by_label("The document as JSON").input_value()
        assert MARKUP.format("value").replace('"', '\\"') in text
        _unharmed(page)
        console.check_width()

    for view in ("explain?filter=%7B%7D", "indexes", "schema", "watch"):
        console.go(f"collections/hostile/{view}", "hostile")
        expect(page.locator("[aria-busy]")).to_have_count(0)
        _unharmed(page)
        console.check_width()

    page.get_by_label("From").fill("snapshot")
    page.get_by_role("button", name="Watch", exact=True).click()
    expect(page.get_by_role("list", name="Changes, the newest first").get_by_role("listitem")).to_have_count(
        len(HOSTILE_IDS)
    )
    _unharmed(page)


def test_hostile_data_is_text_in_a_conflict_and_in_a_refusal(console: Console, hostile: Member) -> None:
    page = console.page
    name = HOSTILE_IDS[0]
    console.open("collections/hostile")
    page.get_by_role("link", name=name, exact=True).click()
    text = page.get_by_label("The document as JSON")
    text.fill(text.input_value().replace('"url"', '"<b>url</b>"'))
    hostile.send("PUT", path_of("hostile", name), HOSTILE | {"<i>other</i>": MARKUP.format("other")})
    page.get_by_role("button", name="Save").click()
    page.get_by_role("dialog").get_by_role("button", name="Save").click()

    expect(page.get_by_role("table", name="Changes")).to_contain_text("/<i>other<~1i>")
    expect(page.get_by_role("table", name="Changes")).to_contain_text("/<b>url<~1b>")
    _unharmed(page)
    page.get_by_role("button", name="Delete").click()
    expect(page.get_by_role("dialog")).to_contain_text(name)
    _unharmed(page)
    page.get_by_role("dialog").get_by_role("button", name="Cancel").click()
    page.get_by_role("button", name="Take the stored one").click()
    expect(text).to_have_value(re.compile("<i>other</i>"))
    console.go("collections/hostile", "hostile")
    page.get_by_label("Filter").fill('{"<img src=x onerror=window.hacked=1>": {"$<b>": 1}}')
    page.get_by_role("button", name="Find").click()
    expect(page.get_by_role("alert")).to_be_visible()
    _unharmed(page)


@pytest.mark.parametrize(
    "place",
    [
        "collections/%E0%A4%A/documents",
        "collections/<img src=x onerror=window.hacked=1>",
        "collections/../../status",
        "collections/books/constructor",
        "__proto__",
        "collections/books/documents/x%00y",
    ],
)
def test_a_hostile_address_is_a_problem_and_no_more(console: Console, place: str) -> None:
    console.page.goto(f"{console.url}/console#/{place}")

    expect(console.page.locator("main .view > *").first).to_be_visible()
    _unharmed(console.page)


def test_the_console_is_small_on_the_wire_and_kept(console: Console) -> None:
    sizes: dict[str, int] = {}
    statuses: dict[str, int] = {}

    def note(request: Request) -> None:
        answer = request.response()
        if answer is not None and "/console" in request.url:
            measured = request.sizes()
            sizes[request.url] = measured["responseBodySize"] + measured["responseHeadersSize"]
            statuses[request.url] = answer.status

    console.page.on("requestfinished", note)
    console.open("audit")
    expect(console.page.get_by_text("csctl audit verify")).to_be_visible()

    assert re.search(r"/console/console\.js$", "\n".join(sizes), re.MULTILINE)
    assert {*statuses.values()} == {200}
    assert 0 < sum(sizes.values()) < WIRE_BYTES_MAX
