"""A page of the console in a headless Chromium, which notices whatever goes wrong.

A violation of the page's policy, a mistake of a script, a dialog of the browser, and a request to another host are
mistakes of every page, whatever a test looks at.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from axe_playwright_python.base import AXE_SCRIPT
from playwright.sync_api import Browser, ConsoleMessage, Dialog, Page, sync_playwright

from collectionstore_testkit.tools import chromium

DESKTOP: Final = (1280, 900)
PHONE: Final = (375, 740)
Scheme = Literal["light", "dark"]

_TIMEOUT_MS: Final = 20_000
_SERIOUS: Final = ("serious", "critical")
_NOTICE: Final = """
window.violations = [];
document.addEventListener("securitypolicyviolation", (event) =>
  window.violations.push(`${event.violatedDirective} ${event.blockedURI} ${event.sourceFile}:${event.lineNumber}`));
"""


@dataclass
class Console:
    """A page, and what went wrong in it."""

    page: Page
    url: str
    """Of the member."""
    mistakes: list[str] = field(default_factory=list)

    def open(self, place: str = "") -> None:
        """Load a view by its place behind `#/`, and wait until it has a heading."""
        self.page.goto(f"{self.url}/console#/{place}")
        self.page.locator("main h1").first.wait_for()

    def go(self, place: str, heading: str) -> None:
        """Go on to another view without loading the page again."""
        self.page.evaluate("(place) => { location.hash = place; }", f"#/{place}")
        self.page.locator("main h1").filter(has_text=heading).first.wait_for()

    def check(self) -> None:
        """Raise AssertionError if something went wrong. Violations are kept by the page: ask before it is left."""
        assert self.mistakes == []
        assert self.page.evaluate("window.violations ?? []") == []

    def check_names(self) -> None:
        """Raise AssertionError for what axe finds serious: controls without names, too little contrast, wrong roles."""
        self.check()
        self.page.evaluate(AXE_SCRIPT)
        found = self.page.evaluate("axe.run()")["violations"]
        # What the tool itself does is not the console's.
        self.page.evaluate("() => { window.violations = []; }")
        told = {
            one["id"]: [(node["html"], node["failureSummary"]) for node in one["nodes"]]
            for one in found
            if one["impact"] in _SERIOUS
        }
        assert told == {}

    def check_width(self) -> None:
        """Raise AssertionError if the page is wider than its window."""
        root = "document.documentElement"
        assert self.page.evaluate(f"{root}.scrollWidth <= {root}.clientWidth")


@contextmanager
def chromium_running() -> Iterator[Browser]:
    """Start Chromium. Raises `ToolError` where there is none.

    Its loop is that of the thread: no other one can run there until it ends.
    """
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium.program(), args=chromium.flags())
        try:
            yield browser
        finally:
            browser.close()


def open_console(
    browser: Browser, url: str, *, size: tuple[int, int] = DESKTOP, scheme: Scheme = "light", **options: Any
) -> Console:
    """Return an empty page for the console of the member at `url`; close it by `console.page.context.close()`."""
    context = browser.new_context(
        viewport={"width": size[0], "height": size[1]}, color_scheme=scheme, reduced_motion="reduce", **options
    )
    context.set_default_timeout(_TIMEOUT_MS)
    page = context.new_page()
    console = Console(page, url)
    page.add_init_script(_NOTICE)
    page.on("pageerror", lambda error: console.mistakes.append(f"script: {error}"))
    page.on("dialog", lambda dialog: _refuse(console, dialog))
    page.on("console", lambda message: _note(console, message))
    page.on("request", lambda request: _note_host(console, request.url))
    return console


def _refuse(console: Console, dialog: Dialog) -> None:
    # A page that is left with what is not saved asks by one of the browser's: the console asks by its own first.
    console.mistakes.append(f"dialog: {dialog.type} {dialog.message}")
    dialog.dismiss()


def _note(console: Console, message: ConsoleMessage) -> None:
    # What the API refuses is told by the browser, too, and by the view.
    if message.type in ("error", "warning") and not message.text.startswith("Failed to load resource"):
        console.mistakes.append(f"{message.type}: {message.text}")


def _note_host(console: Console, url: str) -> None:
    if not url.startswith(f"{console.url}/"):
        console.mistakes.append(f"another host: {url}")
