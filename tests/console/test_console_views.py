"""The other views of the console: the cluster, plans, indexes, changes, schemas, and who may use it."""

from __future__ import annotations

import json
import re

from playwright.sync_api import Route, expect

from collectionstore_testkit.browsers.console import Console
from collectionstore_testkit.browsers.member import Member, path_of

POLL_MS = 5_000


def test_the_overview_shows_members_conditions_and_requests(console: Console, member: Member) -> None:
    page = console.page
    page.clock.install()
    member.fill("busy", {"one": {}})
    console.open()

    members = page.get_by_role("table", name="Members")
    expect(members.locator("tbody tr")).to_have_count(3)
    expect(members.locator("tbody tr").filter(has_text="Leader")).to_have_count(1)
    expect(members.locator("tbody tr").filter(has_text="0 entries")).to_have_count(3)
    conditions = page.get_by_role("table", name="Conditions")
    for name in ("Leader", "Ready", "FaultTolerant", "Stable", "TakesWrites", "Upgraded"):
        expect(conditions.locator("tr").filter(has=page.get_by_text(name, exact=True))).to_contain_text("True")
    expect(page.get_by_text("3 voters; 1 can fail")).to_be_visible()
    expect(page.get_by_text("No change of members is under way.")).to_be_visible()

    for _ in range(20):
        member.document("busy", "one")
    with page.expect_response("**/metrics"):
        page.clock.run_for(POLL_MS)
    throughput = page.get_by_role("img", name=re.compile("^Throughput: now [0-9]"))
    expect(throughput).to_be_visible()
    expect(page.get_by_role("img", name=re.compile("^99 % latency: now [0-9]"))).to_be_visible()
    expect(page.get_by_role("img", name=re.compile(r"^Errors \(5xx\): now 0.00"))).to_be_visible()


def test_a_plan_is_shown_as_a_tree(console: Console, member: Member) -> None:
    member.fill("books", {f"b{at}": {"year": 1900 + at, "author": f"a{at % 3}"} for at in range(30)})
    member.fill("authors", {f"a{at}": {"name": f"Author {at}"} for at in range(3)})
    member.send("POST", "/api/v1/collections/books/indexes", {"name": "by_year", "fields": {"year": 1}})
    page = console.page
    console.open("collections/books/explain")
    plan = page.get_by_role("img", name=re.compile("The plan as a tree"))

    page.get_by_label("Filter").fill('{"author": "a1"}')
    page.get_by_label("Order").fill('{"author": 1}')
    page.get_by_role("button", name="Explain the query").click()
    expect(plan).to_contain_text("Whole collection")
    expect(plan).to_contain_text("Sort in memory")
    expect(plan).to_contain_text("30 documents")

    page.get_by_label("Order").fill("")
    page.get_by_label("Filter").fill('{"year": {"$gte": 1925}}')
    page.get_by_label("Index to use").fill("by_year")
    page.get_by_role("button", name="Explain the query").click()
    expect(plan).to_contain_text("Index by_year")
    expect(plan).not_to_contain_text("Whole collection")
    page.get_by_text("The plan in words").click()
    expect(page.get_by_role("listitem").filter(has_text="Index by_year").last).to_be_visible()

    page.get_by_text("An aggregation instead").click()
    stages = [
        {"$match": {"year": {"$gte": 1925}}},
        {"$lookup": {"from": "authors", "localField": "author", "foreignField": "_id", "as": "who"}},
        {"$group": {"_id": "$author", "count": {"$sum": 1}}},
    ]
    page.get_by_label("Pipeline").fill(json.dumps(stages))
    page.get_by_role("button", name="Explain the aggregation").click()
    for text in ("$lookup", "$group", "authors: ", "Index by_year", "Answer"):
        expect(plan).to_contain_text(text)


def test_indexes_are_made_watched_and_dropped(console: Console, member: Member) -> None:
    member.fill("things", {f"t{at}": {"kind": at % 4} for at in range(20)})
    page = console.page
    console.open("collections/things/indexes")

    page.get_by_role("textbox", name="Name", exact=True).fill("by_kind")
    page.get_by_label("Fields", exact=False).first.fill('{"kind": 1}')
    page.get_by_role("button", name="Create").click()
    row = page.get_by_role("table", name="Indexes of things").locator("tbody tr")
    expect(row).to_contain_text("ready")
    expect(row).to_contain_text("20")

    page.get_by_role("button", name="Drop by_kind").click()
    page.get_by_role("dialog").get_by_role("button", name="Drop").click()
    expect(page.get_by_text("There are no indexes")).to_be_visible()
    assert member.send("GET", "/api/v1/collections/things/indexes")["indexes"] == []


def test_the_progress_of_a_build_is_shown(console: Console, member: Member) -> None:
    """Builds of small collections are over at once, so the answer is the test's."""
    member.fill("large", {f"l{at}": {} for at in range(10)})
    index = {"name": "slow", "fields": {"n": 1}, "unique": True, "sparse": False, "state": "building", "revision": 9}
    counts = {"entries": 4, "documents": 4, "multikey_documents": 0, "key_bytes": 4, "progress": {"documents": 4}}
    answer = {"indexes": [index | counts], "revision": 9}
    console.page.route("**/large/indexes", lambda route: route.fulfill(json=answer))
    console.open("collections/large/indexes")

    progress = console.page.get_by_role("progressbar", name="Build of slow")
    expect(progress).to_be_visible()
    assert progress.evaluate("(bar) => [bar.value, bar.max]") == [4, 10]
    expect(console.page.get_by_text("4 of 10 documents")).to_be_visible()


def test_changes_are_told_as_they_are_made(console: Console, member: Member) -> None:
    member.fill("live", {})
    page = console.page
    console.open("collections/live/watch")
    events = page.get_by_role("list", name="Changes, the newest first").get_by_role("listitem")

    with page.expect_response("**/live:watch*"):
        page.get_by_role("button", name="Watch", exact=True).click()
    member.send("PUT", path_of("live", "one"), {"n": 1})
    expect(events.first).to_contain_text("insert")
    member.send("PATCH", path_of("live", "one"), {"$inc": {"n": 41}})
    expect(events.first).to_contain_text('"n": 42')
    member.send("DELETE", path_of("live", "one"))
    expect(events.first).to_contain_text("delete")
    expect(events).to_have_count(3)

    page.get_by_role("button", name="Stop").click()
    expect(page.get_by_text("Not watching. 3 changes were told.")).to_be_visible()


def test_a_watch_goes_on_from_its_last_change(console: Console, member: Member) -> None:
    """A connection that ends behind an event is opened again from the token of that event."""
    member.fill("live", {"two": {"n": 0}})
    page = console.page
    asked: list[str] = []

    def cut(route: Route) -> None:
        asked.append(route.request.url)
        if len(asked) > 1:
            route.continue_()
            return
        found = member.send("GET", "/api/v1/collections/live:watch?from=0&wait=0s")
        route.fulfill(content_type="application/x-ndjson", body=json.dumps(found["events"][-1]) + "\n")

    page.route("**/live:watch*", cut)
    console.open("collections/live/watch")
    events = page.get_by_role("list", name="Changes, the newest first").get_by_role("listitem")
    with page.expect_response(lambda answer: "from=A" in answer.url):
        page.get_by_role("button", name="Watch", exact=True).click()
    expect(events).to_have_count(1)
    member.send("PUT", path_of("live", "two"), {"n": 7})

    expect(events).to_have_count(2)
    expect(events.first).to_contain_text('"n": 7')
    assert "from=now" in asked[0]


def test_a_schema_is_tried_and_saved(console: Console, member: Member) -> None:
    member.fill("guests", {"ada": {"name": "Ada"}, "who": {"n": 1}})
    page = console.page
    console.open("collections/guests/schema")

    page.get_by_label("Schema of documents").fill('{"required": ["name"]}')
    page.get_by_role("button", name="Try on the documents").click()
    expect(page.get_by_text("1 of 2 documents are not allowed by this schema.")).to_be_visible()
    expect(page.get_by_role("table", name="Documents that are not allowed")).to_contain_text("who")
    assert "options" not in member.send("GET", "/api/v1/collections/guests")

    page.get_by_label("Mode").select_option("warn")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_text("The options are saved.")).to_be_visible()
    schema = member.send("GET", "/api/v1/collections/guests")["options"]["schema"]
    assert (schema["document"], schema["mode"]) == ({"required": ["name"]}, "warn")

    # What another client has set meanwhile is not overwritten.
    member.send("PATCH", "/api/v1/collections/guests", {"schema": {"mode": "strict"}})
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_role("alert")).to_contain_text("412")
    assert member.send("GET", "/api/v1/collections/guests")["options"]["schema"]["mode"] == "strict"


def test_access_that_is_off_is_said(console: Console) -> None:
    console.open("access")

    expect(console.page.get_by_text("Access control is off: every client that reaches this member")).to_be_visible()
    expect(console.page.locator("#who")).to_have_text("access control is off")


def test_the_audit_view_says_where_the_log_is(console: Console) -> None:
    console.open("audit")

    expect(console.page.get_by_text("csctl audit verify")).to_be_visible()


def test_keys_reach_everything(console: Console, member: Member) -> None:
    member.fill("keyed", {"one": {}})
    page = console.page
    console.open("collections/keyed")

    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the content")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("main")).to_be_focused()
    page.keyboard.press("/")
    expect(page.get_by_label("Filter")).to_be_focused()
    page.get_by_label("Filter").blur()
    page.keyboard.press("?")
    expect(page.get_by_role("dialog", name="Keys")).to_be_visible()
    page.keyboard.press("Escape")
    page.keyboard.press("g")
    page.keyboard.press("c")
    expect(page.get_by_role("heading", name="Collections")).to_be_visible()
    page.get_by_role("link", name="keyed", exact=True).press("Enter")
    expect(page.get_by_role("table", name="Documents of keyed")).to_be_visible()


def test_colours_follow_the_system_and_the_switch(console: Console) -> None:
    page = console.page
    back = "getComputedStyle(document.body).backgroundColor"
    console.open("audit")
    light = page.evaluate(back)

    page.get_by_label("Colours").select_option("dark")
    dark = page.evaluate(back)
    assert dark != light
    page.reload()
    assert page.evaluate(back) == dark
    page.get_by_label("Colours").select_option("auto")
    assert page.evaluate(back) == light
    page.emulate_media(color_scheme="dark")
    assert page.evaluate(back) == dark
