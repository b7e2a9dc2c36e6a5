"""The console of a cluster that lets nobody in without a credential: signing in and out, users, roles and tokens."""

from __future__ import annotations

import asyncio
import json
import re
from concurrent.futures import ThreadPoolExecutor

import pytest
from playwright.sync_api import Page, expect

from collectionstore_testkit.browsers.console import Console
from collectionstore_testkit.browsers.member import Member
from collectionstore_testkit.clusters.local import LocalCluster

ROOT, ADA = "root-password-1", "ada-password-1"
KEPT = "JSON.stringify(localStorage) + document.cookie + document.documentElement.outerHTML + location.href"


class Administrator:
    """The member, asked with the token of the local cluster."""

    def __init__(self, member: Member, cluster: LocalCluster) -> None:
        self._member = member
        self._headers = cluster.admin_headers

    def send(self, method: str, path: str, body: object = None) -> object:
        return self._member.send(method, f"/api/v1{path}", body, self._headers)


@pytest.fixture(scope="module")
def administrator(member: Member, cluster: LocalCluster) -> Administrator:
    """Sets up users; from then on a credential is needed."""
    member.fill("books", {"dune": {"title": "Dune"}})
    administrator = Administrator(member, cluster)
    for name, roles, password in (("root", ["admin"], ROOT), ("ada", ["reader"], ADA)):
        administrator.send("PUT", f"/users/{name}", {"roles": roles})
        administrator.send("PUT", f"/users/{name}/password", {"password": password})
    # In a thread: a browser runs a loop in this one.
    with ThreadPoolExecutor(1) as thread:
        thread.submit(asyncio.run, cluster.apply({"access": {"mode": "Enforced"}})).result()
    return administrator


@pytest.fixture
def page(console: Console, administrator: Administrator) -> Page:
    console.open("collections/books")
    expect(console.page.get_by_role("heading", name="Sign in")).to_be_visible()
    return console.page


def sign_in(page: Page, user: str, password: str) -> None:
    page.get_by_label("User", exact=True).fill(user)
    page.get_by_label("Password", exact=True).fill(password)
    page.get_by_label("Password", exact=True).press("Enter")


def with_token(page: Page, token: str) -> None:
    page.get_by_role("textbox", name="Token").fill(token)
    page.get_by_role("form", name="By token").get_by_role("button").click()


def test_a_password_signs_in_and_is_not_kept(page: Page) -> None:
    sign_in(page, "ada", "wrong-password")
    expect(page.get_by_role("alert")).to_contain_text("401 unauthorized")
    assert page.evaluate("sessionStorage.length") == 0

    sign_in(page, "ada", ADA)
    expect(page.get_by_role("link", name="dune", exact=True)).to_be_visible()
    expect(page.locator("#who")).to_have_text("ada")
    kept = json.loads(page.evaluate("sessionStorage.getItem('collectionstore.session')"))
    assert kept["kind"] == "login"
    assert ADA not in json.dumps(kept) + page.evaluate(KEPT)
    assert kept["token"] not in page.evaluate(KEPT)

    page.reload()
    expect(page.get_by_role("link", name="dune", exact=True)).to_be_visible()


def test_signing_out_ends_the_session_on_the_member(page: Page, member: Member) -> None:
    sign_in(page, "ada", ADA)
    expect(page.get_by_role("link", name="dune", exact=True)).to_be_visible()
    token = json.loads(page.evaluate("sessionStorage.getItem('collectionstore.session')"))["token"]
    headers = {"Authorization": f"Bearer {token}"}
    assert member.send("GET", "/api/v1/whoami", headers=headers)["user"] == "ada"

    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
    assert page.evaluate("sessionStorage.length") == 0
    with pytest.raises(AssertionError, match="401"):
        member.send("GET", "/api/v1/whoami", headers=headers)


def test_a_token_signs_in_and_a_revoked_one_leads_back(page: Page, administrator: Administrator) -> None:
    made = administrator.send("POST", "/tokens", {"user": "ada", "ttl": "1h"})
    assert isinstance(made, dict)
    with_token(page, "cst_0123456789abcdef_" + "x" * 43)
    expect(page.get_by_role("alert")).to_contain_text("401 unauthorized")

    with_token(page, made["token"])
    expect(page.get_by_role("link", name="dune", exact=True)).to_be_visible()
    assert made["token"] not in page.evaluate(KEPT)

    administrator.send("DELETE", f"/tokens/{made['id']}")
    page.get_by_role("button", name="Find").click()
    expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
    expect(page.get_by_role("alert")).to_contain_text("not accepted any more")
    assert page.evaluate("sessionStorage.length") == 0


def test_who_may_not_administer_sees_who_it_is_and_why_not_more(page: Page, console: Console) -> None:
    sign_in(page, "ada", ADA)
    expect(page.get_by_role("link", name="dune", exact=True)).to_be_visible()
    console.go("access", "Access")

    expect(page.get_by_role("alert")).to_contain_text("403 forbidden")
    expect(page.locator("dl").filter(has_text="Administers")).to_contain_text("reader")
    expect(page.get_by_role("table", name="Users")).to_have_count(0)


def test_views_of_a_reader_show_what_a_reader_may_see(page: Page, console: Console) -> None:
    """Each part of a view by itself: what is refused is said in its place, and the others are shown."""
    sign_in(page, "ada", ADA)
    expect(page.get_by_role("link", name="dune", exact=True)).to_be_visible()
    for place, heading in (("", "Overview"), ("collections", "Collections"), ("watch", "Changes"), ("audit", "Audit")):
        console.go(place, heading)
        expect(page.locator("[aria-busy]")).to_have_count(0)
        console.check_names()
    console.go("", "Overview")
    expect(page.get_by_role("table", name="Members").or_(page.get_by_role("alert")).first).to_be_visible()
    expect(page.get_by_role("heading", name="Sign in")).to_have_count(0)


def test_users_roles_and_tokens_are_administered(
    page: Page, console: Console, member: Member, administrator: Administrator
) -> None:
    sign_in(page, "root", ROOT)
    expect(page.get_by_role("link", name="dune", exact=True)).to_be_visible()
    console.go("access", "Access")
    users, roles = page.get_by_role("table", name="Users"), page.get_by_role("table", name="Roles")
    expect(users.locator("tbody tr")).to_have_count(2)
    expect(roles.locator("tr").filter(has_text="reader")).to_contain_text("built in")
    console.check_names()

    page.get_by_role("button", name="New role").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_role("textbox", name="Name", exact=True).fill("librarian")
    dialog.get_by_label("As JSON").fill('{"rules": [{"verbs": ["read", "write"], "collections": ["books"]}]}')
    dialog.get_by_role("button", name="Save").click()
    expect(roles.locator("tr").filter(has_text="librarian")).to_be_visible()

    page.get_by_role("button", name="New user").click()
    dialog.get_by_role("textbox", name="Name", exact=True).fill("grace")
    dialog.get_by_label("As JSON").fill('{"roles": ["librarian"]}')
    dialog.get_by_role("button", name="Save").click()
    expect(users.locator("tr").filter(has_text="grace")).to_contain_text("librarian")
    page.get_by_role("button", name="Set the password of grace").click()
    dialog.get_by_label("New password").fill("grace-password-1")
    dialog.get_by_role("button", name="Set").click()
    expect(users.locator("tr").filter(has_text="grace")).to_contain_text("set")
    assert member.send("POST", "/api/v1/login", {"user": "grace", "password": "grace-password-1"})["user"] == "grace"

    # A change is of what was seen.
    page.get_by_role("button", name="Change grace").click()
    administrator.send("PUT", "/users/grace", {"roles": ["librarian", "reader"]})
    dialog.get_by_label("As JSON").fill('{"roles": ["admin"]}')
    dialog.get_by_role("button", name="Save").click()
    expect(page.get_by_role("alert")).to_contain_text("412 precondition_failed")

    page.get_by_label("New token of").fill("grace")
    page.get_by_label("Lasts for").fill("1h")
    page.get_by_role("button", name="Create", exact=True).click()
    secret = page.locator(".secret")
    expect(secret).to_have_text(re.compile("^cst_"))
    first = secret.text_content() or ""
    assert member.send("GET", "/api/v1/whoami", headers={"Authorization": f"Bearer {first}"})["user"] == "grace"
    row = page.get_by_role("table", name="Tokens").locator("tr").filter(has_text=first.split("_")[1])
    row.get_by_role("button", name="Rotate").click()
    dialog.get_by_label("The secret before").fill("none")
    dialog.get_by_role("button", name="Rotate").click()
    expect(secret).not_to_have_text(first)
    row.get_by_role("button", name="Revoke").click()
    dialog.get_by_role("button", name="Revoke").click()
    expect(row).to_have_count(0)

    page.get_by_role("button", name="Delete grace").click()
    dialog.get_by_role("textbox").fill("grace")
    dialog.get_by_role("button", name="Delete").click()
    expect(users.locator("tr").filter(has_text="grace")).to_have_count(0)


def test_locking_everybody_out_is_refused(page: Page, console: Console, administrator: Administrator) -> None:
    sign_in(page, "root", ROOT)
    expect(page.get_by_role("link", name="dune", exact=True)).to_be_visible()
    console.go("access", "Access")

    page.get_by_role("button", name="Change root").click()
    page.get_by_role("dialog").get_by_label("As JSON").fill('{"roles": ["reader"]}')
    page.get_by_role("dialog").get_by_role("button", name="Save").click()
    expect(page.get_by_role("alert")).to_contain_text("access_lockout")
    user = administrator.send("GET", "/users/root")
    assert isinstance(user, dict)
    assert user["roles"] == ["admin"]


def test_the_mode_is_changed_as_it_was_seen(page: Page, console: Console, administrator: Administrator) -> None:
    sign_in(page, "root", ROOT)
    expect(page.get_by_role("link", name="dune", exact=True)).to_be_visible()
    console.go("access", "Access")

    page.get_by_role("button", name="Change the access configuration").click()
    body = page.get_by_role("dialog").get_by_label("As JSON")
    configuration = json.loads(body.input_value())
    assert configuration["mode"] == "Enforced"
    body.fill(json.dumps(configuration | {"session_s": 1800}))
    page.get_by_role("dialog").get_by_role("button", name="Save").click()
    expect(page.get_by_text("The access configuration is saved.")).to_be_visible()
    found = administrator.send("GET", "/access")
    assert isinstance(found, dict)
    assert (found["session_s"], found["mode"]) == (1800, "Enforced")
