"""Loads the console of a local cluster as a person does: how long it takes, what it weighs, and pictures of it.

python -m collectionstore_observe.console [--loads 11] [--pictures build/console]
"""

from __future__ import annotations

import argparse
import asyncio
import random
import secrets
import shutil
import statistics
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol, TypeAlias

from playwright.sync_api import Browser, Page, Request

from collectionstore_testkit.browsers.console import DESKTOP, PHONE, Console, Scheme, chromium_running, open_console
from collectionstore_testkit.browsers.member import Member, path_of
from collectionstore_testkit.clusters.errors import ClusterFailed
from collectionstore_testkit.clusters.local import PORT_STEP, LocalCluster, make_folder
from collectionstore_testkit.clusters.ports import free_base_port
from collectionstore_testkit.errors import ToolError
from collectionstore_testkit.places import REPOSITORY

_MEMBERS: Final = 3
_LOADS: Final = 11
_SEED: Final = 17
_POLL_MS: Final = 5_000
"""How often the overview asks."""
_SAMPLES: Final = 40
_AUTHORS: Final = ("Herbert", "Le Guin", "Lem", "Butler", "Tolkien", "Shelley", "Borges", "Calvino")
_PAINT: Final = "performance.getEntriesByName('first-contentful-paint')[0].startTime"
_SHOWN: Final = "performance.now()"


class _Act(Protocol):
    """What is done in a view before its picture is taken."""

    def __call__(self, page: Page, member: Member) -> None: ...


@dataclass(frozen=True)
class _Load:
    """One load of the overview."""

    paint_ms: float
    shown_ms: float
    """Until the members are shown."""
    requests: int
    wire_bytes: int
    """Heads and bodies of the console's files."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m collectionstore_observe.console", description=__doc__.split("\n")[0]
    )
    parser.add_argument("--loads", type=int, default=_LOADS, help=f"how often it is loaded, default {_LOADS}")
    parser.add_argument("--pictures", type=Path, default=REPOSITORY / "build" / "console", help="where pictures go")
    options = parser.parse_args(arguments)
    try:
        with _cluster() as cluster, chromium_running() as browser:
            member = Member(cluster.url_of(Member(cluster.url(0)).leader()))
            _fill(member)
            cold = [_load(browser, member) for _ in range(options.loads)]
            again = [_load_again(browser, member) for _ in range(options.loads)]
            _report("first visit", cold)
            _report("next visit", again)
            for name in (
                *_draw(browser, member, options.pictures, _PICTURES),
                *_draw(browser, member, options.pictures, _guarded(cluster, member)),
            ):
                print(f"picture      {name}")
    except (ToolError, ClusterFailed) as error:
        print(error, file=sys.stderr)
        return 2
    return 0


@contextmanager
def _cluster() -> Iterator[LocalCluster]:
    base_port = free_base_port(PORT_STEP * _MEMBERS, within=range(20_000, 30_000))
    running = LocalCluster(make_folder("demo"), base_port, name="demo")
    try:
        asyncio.run(running.start(_MEMBERS))
        yield running
    finally:
        asyncio.run(running.stop(keep=False))
        shutil.rmtree(running.folder, ignore_errors=True)


def _fill(member: Member) -> None:
    """Make what pictures show."""
    numbers = random.Random(_SEED)
    books = {
        f"b{at:03}": {
            "title": f"Volume {at}",
            "author": numbers.choice(_AUTHORS),
            "year": numbers.randrange(1900, 2026),
            "tags": numbers.sample(("classic", "desert", "moon", "robots", "sea"), 2),
        }
        for at in range(120)
    }
    member.fill("books", books)
    member.fill("authors", {name.lower().replace(" ", "-"): {"name": name} for name in _AUTHORS})
    member.fill("orders", {})
    schema = {"document": {"required": ["title"], "properties": {"year": {"type": "integer"}}}, "mode": "strict"}
    member.send("PATCH", "/api/v1/collections/books", {"schema": schema})
    for name, fields in (("by_year", {"year": 1}), ("by_author", {"author": 1, "year": -1})):
        member.send("POST", "/api/v1/collections/books/indexes", {"name": name, "fields": fields})


def _load(browser: Browser, member: Member) -> _Load:
    console = open_console(browser, member.url)
    try:
        return _loaded(console)
    finally:
        console.page.context.close()


def _load_again(browser: Browser, member: Member) -> _Load:
    console = open_console(browser, member.url)
    try:
        _loaded(console)
        console.page.goto("about:blank")
        return _loaded(console)
    finally:
        console.page.context.close()


def _loaded(console: Console) -> _Load:
    sizes: list[int] = []

    def note(request: Request) -> None:
        if "/console" in request.url:
            measured = request.sizes()
            sizes.append(measured["responseBodySize"] + measured["responseHeadersSize"])

    page = console.page
    page.on("requestfinished", note)
    console.open()
    page.get_by_role("table", name="Members").wait_for()
    shown = float(page.evaluate(_SHOWN))
    paint = float(page.evaluate(_PAINT))
    page.remove_listener("requestfinished", note)
    return _Load(paint, shown, len(sizes), sum(sizes))


def _report(what: str, loads: Sequence[_Load]) -> None:
    paints = [one.paint_ms for one in loads]
    shown = [one.shown_ms for one in loads]
    print(
        f"{what:12} {loads[-1].requests} files, {loads[-1].wire_bytes / 1024:.1f} KiB on the wire; first paint "
        f"{statistics.median(paints):.0f} ms (worst {max(paints):.0f}), members shown after "
        f"{statistics.median(shown):.0f} ms (worst {max(shown):.0f}); {len(loads)} loads",
        flush=True,
    )


def _work(page: Page, member: Member) -> None:
    """Let the overview sample some load."""
    numbers = random.Random(_SEED)
    for sample in range(_SAMPLES):
        for at in range(numbers.randrange(5, 25)):
            member.document("books", f"b{at:03}")
            if at % 5 == 0:
                member.send("PUT", path_of("orders", f"o{sample}-{at}"), {"book": f"b{at:03}"})
        with page.expect_response("**/metrics"):
            page.clock.run_for(_POLL_MS)


def _explain(page: Page, member: Member) -> None:
    stages = (
        '[{"$match": {"year": {"$gte": 1990}}},'
        ' {"$lookup": {"from": "authors", "localField": "author", "foreignField": "name", "as": "who"}},'
        ' {"$group": {"_id": "$author", "books": {"$sum": 1}}}, {"$sort": {"books": -1}}]'
    )
    page.get_by_text("An aggregation instead").click()
    page.get_by_label("Pipeline").fill(stages)
    page.get_by_role("button", name="Explain the aggregation").click()
    page.locator("svg.plan").wait_for()


def _conflict(page: Page, member: Member) -> None:
    text = page.get_by_label("The document as JSON")
    text.fill(text.input_value().replace("Volume 7", "Volume seven"))
    member.send("PATCH", path_of("books", "b007"), {"$inc": {"year": 1}})
    page.get_by_role("button", name="Save").click()
    page.get_by_role("button", name="Take both").wait_for()


def _watch(page: Page, member: Member) -> None:
    with page.expect_response("**/books:watch*"):
        page.get_by_role("button", name="Watch", exact=True).click()
    for at in range(6):
        member.send("PATCH", path_of("books", f"b{at:03}"), {"$inc": {"sold": at + 1}})
    member.send("PUT", path_of("books", "draft"), {"title": "Untitled"})
    member.send("DELETE", path_of("books", "draft"))
    page.get_by_text("delete", exact=True).last.wait_for()


def _nothing(page: Page, member: Member) -> None:
    page.wait_for_load_state("networkidle")


_PICTURES: Final = (
    ("overview", "", _work),
    ("collections", "collections", _nothing),
    ("documents", "collections/books?filter=%7B%22year%22%3A%7B%22%24gte%22%3A1990%7D%7D", _nothing),
    ("explain", "collections/books/explain", _explain),
    ("editor", "collections/books/documents/b007", _conflict),
    ("indexes", "collections/books/indexes", _nothing),
    ("watch", "collections/books/watch", _watch),
    ("schema", "collections/books/schema", _nothing),
)
_View: TypeAlias = tuple[str, str, _Act]
"""Name of the picture, place of the view, what is done in it."""


def _guarded(cluster: LocalCluster, member: Member) -> tuple[_View, ...]:
    """Let nobody in without a credential; return the views that show it."""
    password = secrets.token_urlsafe(12)

    def administer(path: str, body: object) -> None:
        member.send("PUT", f"/api/v1{path}", body, cluster.admin_headers)

    rules = [{"verbs": ["read", "write"], "collections": ["books", "orders"]}]
    administer("/roles/librarian", {"rules": rules, "description": "lends books"})
    for name, role in (("grace", "admin"), ("ada", "librarian"), ("alan", "reader")):
        administer(f"/users/{name}", {"roles": [role]})
    administer("/users/grace/password", {"password": password})
    administer("/access", {"mode": "Enforced"})

    def sign_in(page: Page, member: Member) -> None:
        page.get_by_label("User", exact=True).fill("grace")
        page.get_by_label("Password", exact=True).fill(password)
        page.get_by_label("Password", exact=True).press("Enter")
        page.get_by_role("table", name="Users").wait_for()

    return (("sign-in", "access", _nothing), ("access", "access", sign_in))


def _draw(browser: Browser, member: Member, folder: Path, views: Sequence[_View]) -> Iterator[Path]:
    """Write a picture of each view: in light, in dark, and on a phone."""
    folder.mkdir(parents=True, exist_ok=True)
    kinds: tuple[tuple[str, Scheme, tuple[int, int]], ...] = (
        ("light", "light", DESKTOP),
        ("dark", "dark", DESKTOP),
        ("phone", "light", PHONE),
    )
    for kind, scheme, size in kinds:
        for name, place, act in views:
            console = open_console(
                browser, member.url, size=size, scheme=scheme, device_scale_factor=2 if size == PHONE else 1
            )
            if act is _work:
                console.page.clock.install()
            console.open(place)
            act(console.page, member)
            picture = folder / f"{name}-{kind}.png"
            console.page.screenshot(path=picture, full_page=True)
            console.check()
            console.page.context.close()
            yield picture


if __name__ == "__main__":
    sys.exit(main())
