"""Collections and documents in the console: found, made, edited, and saved over no other person's."""

from __future__ import annotations

import re

from playwright.sync_api import expect

from collectionstore_testkit.browsers.console import Console
from collectionstore_testkit.browsers.member import Member, path_of

EXACT = b'{"n":12345678901234567890.123456789,"2":1e-300,"1":9007199254740993,"text":"\\u00e9"}'


def stored(member: Member, collection: str, document_id: str) -> str:
    return member.text(path_of(collection, document_id))


def test_collections_are_made_listed_and_dropped(console: Console, member: Member) -> None:
    page = console.page
    console.open("collections")

    page.get_by_label("New collection").locator("input").fill("cities")
    page.get_by_role("button", name="Create").click()
    expect(page.get_by_role("link", name="cities", exact=True)).to_be_visible()
    assert member.send("GET", "/api/v1/collections/cities")["name"] == "cities"

    page.get_by_role("button", name="Drop cities").click()
    dialog = page.get_by_role("dialog", name="Drop cities?")
    drop = dialog.get_by_role("button", name="Drop")
    expect(drop).to_be_disabled()
    dialog.get_by_role("textbox").fill("citie")
    expect(drop).to_be_disabled()
    dialog.get_by_role("textbox").fill("cities")
    drop.click()
    expect(page.get_by_role("link", name="cities", exact=True)).to_have_count(0)
    assert "cities" not in [one["name"] for one in member.send("GET", "/api/v1/collections")["collections"]]


def test_a_dialog_that_is_left_changes_nothing_and_gives_the_focus_back(console: Console, member: Member) -> None:
    member.fill("kept", {})
    page = console.page
    console.open("collections")
    button = page.get_by_role("button", name="Drop kept")

    button.press("Enter")
    page.get_by_role("dialog").get_by_role("textbox").press("Escape")

    expect(page.get_by_role("dialog")).to_have_count(0)
    expect(button).to_be_focused()
    assert member.send("GET", "/api/v1/collections/kept")["name"] == "kept"


def test_documents_are_found_by_filter_order_and_page(console: Console, member: Member) -> None:
    member.fill("numbers", {f"d{at:03}": {"n": at} for at in range(60)})
    page = console.page
    console.open("collections/numbers")
    table = page.get_by_role("table", name="Documents of numbers")

    expect(table.locator("tbody tr")).to_have_count(50)
    page.get_by_role("button", name="Next page").click()
    expect(table.locator("tbody tr")).to_have_count(10)
    page.get_by_role("button", name="First page").click()
    expect(table.locator("tbody tr")).to_have_count(50)

    page.get_by_label("Filter").fill('{"n": {"$gte": 57}}')
    page.get_by_label("Order").fill('{"n": -1}')
    page.get_by_label("Filter").press("Control+Enter")
    expect(table.locator("tbody tr td:first-child")).to_have_text(["d059", "d058", "d057"])
    page.get_by_role("button", name="Count").click()
    expect(page.get_by_text("3 documents match.")).to_be_visible()

    # The address has the query: it can be kept and opened again.
    page.reload()
    expect(table.locator("tbody tr td:first-child")).to_have_text(["d059", "d058", "d057"])


def test_mistakes_in_a_filter_are_told_with_their_place(console: Console, member: Member) -> None:
    member.fill("numbers", {})
    page = console.page
    console.open("collections/numbers")

    page.get_by_label("Filter").fill('{"n": 1,\n "m" 2}')
    page.get_by_role("button", name="Find").click()
    expect(page.get_by_role("alert")).to_contain_text('Filter: line 2, column 6: ":" belongs here')

    page.get_by_label("Filter").fill('{"n": {"$near": 1}}')
    page.get_by_role("button", name="Find").click()
    expect(page.get_by_role("alert")).to_contain_text("400 invalid_filter")
    expect(page.get_by_role("alert")).to_contain_text("/filter/n/$near")


def test_a_save_keeps_every_digit_and_the_order_of_names(console: Console, member: Member) -> None:
    member.fill("exact", {})
    member.send("PUT", path_of("exact", "one"), EXACT)
    page = console.page
    console.open("collections/exact/documents/one")
    text = page.get_by_label("The document as JSON")

    assert re.sub(r"\s", "", text.input_value()).encode() == EXACT
    text.fill(text.input_value().replace("1e-300", "1e-301"))
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_text(re.compile("one is saved at revision"))).to_be_visible()

    assert stored(member, "exact", "one").encode() == EXACT.replace(b"1e-300", b"1e-301")


def test_a_document_is_made_with_an_id_and_without_one(console: Console, member: Member) -> None:
    member.fill("made", {})
    page = console.page
    console.open("collections/made")

    page.get_by_role("link", name="New document").click()
    page.get_by_label("ID", exact=False).first.fill("a/b?c#d e")
    page.get_by_label("The document as JSON").fill('{"n": 1}')
    page.get_by_role("button", name="Create").click()
    expect(page.get_by_text(re.compile("^Revision"))).to_be_visible()
    assert member.document("made", "a/b?c#d e") == {"n": 1}

    console.go("collections/made/new", "made")
    page.get_by_label("The document as JSON").fill('{"n": 2}')
    page.get_by_label("The document as JSON").press("Control+Enter")
    expect(page.get_by_role("button", name="Delete")).to_be_visible()
    found = member.send("GET", "/api/v1/collections/made/documents")["documents"]
    assert sorted(one["document"]["n"] for one in found) == [1, 2]

    # The same ID again overwrites nothing.
    console.go("collections/made/new", "made")
    page.get_by_label("ID", exact=False).first.fill("a/b?c#d e")
    page.get_by_label("The document as JSON").fill('{"n": 3}')
    page.get_by_role("button", name="Create").click()
    expect(page.get_by_role("alert")).to_contain_text("412")
    assert member.document("made", "a/b?c#d e") == {"n": 1}
    page.get_by_label("The document as JSON").fill("{\n}")


def test_a_change_by_another_client_is_shown_and_merged(console: Console, member: Member) -> None:
    member.fill("shared", {"plan": {"title": "Plan", "owner": "ada", "state": "open"}})
    page = console.page
    console.open("collections/shared/documents/plan")
    text = page.get_by_label("The document as JSON")

    text.fill('{"title": "Plan B", "owner": "ada", "state": "open"}')
    member.send("PUT", path_of("shared", "plan"), {"title": "Plan", "owner": "alan", "state": "open"})
    page.get_by_role("button", name="Save").click()

    conflict = page.get_by_role("alert").filter(has_text="Another client has changed this document")
    expect(conflict.get_by_role("table").locator("tbody tr")).to_have_count(2)
    expect(conflict).to_contain_text('"Plan B"')
    expect(conflict).to_contain_text('"alan"')
    assert member.document("shared", "plan")["title"] == "Plan"

    page.get_by_role("button", name="Take both").click()
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_text(re.compile("plan is saved at revision"))).to_be_visible()
    assert member.document("shared", "plan") == {"title": "Plan B", "owner": "alan", "state": "open"}


def test_a_change_of_the_same_field_is_for_the_person_to_decide(console: Console, member: Member) -> None:
    member.fill("shared", {"note": {"text": "one"}})
    page = console.page
    console.open("collections/shared/documents/note")
    text = page.get_by_label("The document as JSON")

    text.fill('{"text": "mine"}')
    member.send("PUT", path_of("shared", "note"), {"text": "theirs"})
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_text("Both changed /text.")).to_be_visible()
    expect(page.get_by_role("button", name="Take both")).to_have_count(0)

    page.get_by_role("button", name="Take the stored one").click()
    expect(text).to_have_value('{\n  "text": "theirs"\n}')

    text.fill('{"text": "mine"}')
    member.send("PUT", path_of("shared", "note"), {"text": "theirs again"})
    page.get_by_role("button", name="Save").click()
    page.get_by_role("button", name="Keep mine on top of it").click()
    assert member.document("shared", "note") == {"text": "theirs again"}
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_text(re.compile("note is saved at revision"))).to_be_visible()
    assert member.document("shared", "note") == {"text": "mine"}


def test_a_document_that_was_deleted_meanwhile_is_told(console: Console, member: Member) -> None:
    member.fill("shared", {"gone": {"n": 1}})
    page = console.page
    console.open("collections/shared/documents/gone")

    page.get_by_label("The document as JSON").fill('{"n": 2}')
    member.send("DELETE", path_of("shared", "gone"))
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_role("alert")).to_contain_text("Another client has deleted this document")

    page.get_by_role("button", name="Create it anew").click()
    expect(page.get_by_text(re.compile("gone is saved at revision"))).to_be_visible()
    assert member.document("shared", "gone") == {"n": 2}


def test_a_delete_is_confirmed_and_of_what_was_seen(console: Console, member: Member) -> None:
    member.fill("shared", {"old": {"n": 1}})
    page = console.page
    console.open("collections/shared/documents/old")

    member.send("PUT", path_of("shared", "old"), {"n": 2})
    page.get_by_role("button", name="Delete").click()
    page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    expect(page.get_by_role("alert")).to_contain_text("Another client has changed this document")
    assert member.document("shared", "old") == {"n": 2}

    page.get_by_role("button", name="Take the stored one").click()
    expect(page.get_by_label("The document as JSON")).to_have_value('{\n  "n": 2\n}')
    page.get_by_role("button", name="Delete").click()
    page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    expect(page.get_by_role("table", name="Documents of shared")).to_be_visible()
    found = member.send("GET", "/api/v1/collections/shared/documents")["documents"]
    assert "old" not in [one["id"] for one in found]


def test_what_a_schema_does_not_allow_is_told_before_it_is_sent(console: Console, member: Member) -> None:
    allowed = {"required": ["name"], "properties": {"name": {"type": "string"}, "n": {"type": "integer"}}}
    member.fill("people", {"ada": {"name": "Ada", "n": 1}})
    member.send("PATCH", "/api/v1/collections/people", {"schema": {"document": allowed}})
    page = console.page
    console.open("collections/people/documents/ada")
    text = page.get_by_label("The document as JSON")

    text.fill('{"name": "Ada", "n": "one"}')
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_role("alert")).to_contain_text("does not allow this document")
    page.get_by_role("button", name="/n", exact=True).click()
    expect(text).to_be_focused()
    chosen = "(area) => area.value.slice(area.selectionStart, area.selectionEnd)"
    assert text.evaluate(chosen) == '"one"'
    assert member.document("people", "ada")["n"] == 1

    text.fill('{"name": "Ada", "n": 2}')
    page.get_by_role("button", name="Check").click()
    expect(page.get_by_text("The schema of the collection allows this document.")).to_be_visible()
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_text(re.compile("ada is saved at revision"))).to_be_visible()
    assert member.document("people", "ada")["n"] == 2


def test_a_save_keeps_the_deadline_of_a_document(console: Console, member: Member) -> None:
    member.fill("sessions", {})
    member.send("PUT", path_of("sessions", "one") + "?ttl=1h", {"user": "ada"})
    page = console.page
    console.open("collections/sessions/documents/one")
    expect(page.get_by_text("It expires in 60 min, and a save keeps that.")).to_be_visible()

    page.get_by_label("The document as JSON").fill('{"user": "alan"}')
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_text(re.compile("one is saved at revision"))).to_be_visible()
    expect(page.get_by_text("and a save keeps that.")).to_be_visible()


def test_what_is_not_saved_is_not_left_without_a_question(console: Console, member: Member) -> None:
    member.fill("drafts", {"one": {"n": 1}})
    page = console.page
    console.open("collections/drafts/documents/one")

    page.get_by_label("The document as JSON").fill('{"n": 2}')
    page.get_by_role("link", name="Overview").click()
    page.get_by_role("dialog").get_by_role("button", name="Cancel").click()
    expect(page.get_by_label("The document as JSON")).to_have_value('{"n": 2}')

    page.get_by_role("link", name="Overview").click()
    page.get_by_role("dialog").get_by_role("button", name="Leave").click()
    expect(page.get_by_role("heading", name="Overview")).to_be_visible()
    assert member.document("drafts", "one") == {"n": 1}


def test_a_document_as_large_as_is_allowed_is_edited(console: Console, member: Member) -> None:
    """As it is shown it has more bytes than may be sent: the white space is not sent."""
    member.fill("large", {"one": {f"k{at:05}": {"n": at} for at in range(40_000)}})
    page = console.page
    console.open("collections/large/documents/one")
    text = page.get_by_label("The document as JSON")
    assert len(text.input_value()) > 1 << 20

    text.evaluate(
        """(area) => {
          area.value = area.value.replace('"n": 7\\n', '"n": 70\\n');
          area.dispatchEvent(new Event("input"));
        }"""
    )
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_text(re.compile("one is saved at revision"))).to_be_visible()
    assert member.document("large", "one")["k00007"] == {"n": 70}


KEPT = [
    '{"__proto__":1,"2":1e-400,"1":-0.0,"b":[],"c":{},"d":[1,{"x":"\\u0041\\n<"}]}',
    "[12345678901234567890.123,1E5,true,false,null]",
    '"\\ud83d\\ude00 \\/ \\"quoted\\""',
    "0",
]
REFUSED = [
    "",
    "{",
    '{"a":1,}',
    "[1,]",
    "{a:1}",
    '{"a":1}x',
    '{"a":01}',
    "[1 2]",
    '{"a" 1}',
    '{"a":1,"a":2}',
    "'a'",
    "NaN",
    '"\\x"',
    '"a\nb"',
    "[" * 200,
]
MERGED = [
    ('{"a":1,"b":2}', '{"a":9,"b":2}', '{"a":1,"b":3}', '{"a":9,"b":3}', []),
    ('{"a":1,"b":2}', '{"a":1}', '{"a":5,"b":2}', '{"a":5}', []),
    ('{"a":{"x":1}}', '{"a":{"x":1,"y":1}}', '{"a":{"x":1,"z":1}}', '{"a":{"x":1,"z":1,"y":1}}', []),
    ('{"a":1}', '{"a":2}', '{"a":3}', '{"a":2}', ["/a"]),
    ('{"a":[1]}', '{"a":[1,2]}', '{"a":[1,3]}', '{"a":[1,2]}', ["/a"]),
    ('{"a~/b":1}', "{}", '{"a~/b":2}', "{}", ["/a~0~1b"]),
    ("{}", '{"a":1}', '{"a":1}', '{"a":1}', []),
]


def test_json_is_read_and_written_to_the_digit(console: Console) -> None:
    console.open("audit")

    def run(body: str, argument: object) -> object:
        return console.page.evaluate(
            f"async (given) => {{ const json = await import('/console/json.js'); {body} }}", argument
        )

    for text in KEPT:
        assert run("return json.tight(json.indented(given));", text) == text
        assert run("return json.tight(json.pretty(json.parse(given))) === json.compact(json.parse(given));", text)
    for text in REFUSED:
        refused = "try { json.parse(given); return false; } catch (error) { return error instanceof json.BadJson; }"
        assert run(refused, text), text
    for base, mine, theirs, merged, conflicts in MERGED:
        done = run(
            "const [base, mine, theirs] = given.map((one) => json.parse(one));"
            "const done = json.merge(base, mine, theirs); return [json.compact(done.merged), done.conflicts];",
            [base, mine, theirs],
        )
        assert done == [merged, conflicts]
    assert run("return given.slice(...json.locate(given, '/d/1/x'));", KEPT[0]) == '"\\u0041\\n<"'
    assert run("return given.slice(...json.locate(given, '/d/7/none'));", KEPT[0]) == '[1,{"x":"\\u0041\\n<"}]'
