"""A real Chromium. Every page that a test opens must stay silent and ask for nothing but itself."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Dialog, Page, Request

# As root there is no sandbox; without the rest Chromium itself asks its maker's hosts for updates.
_ARGUMENTS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
DESKTOP, PHONE = (1280, 900), (360, 740)
STANDARDS = ("wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice")
"""What axe holds a page against."""

Open = Callable[..., "Page"]


@pytest.fixture(scope="module")  # and no longer: playwright's event loop runs in this thread, and others need theirs
def browser() -> Iterator[Browser]:
    from playwright.sync_api import sync_playwright

    from tests.conftest import require

    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    require(chromium is not None, "Chromium")
    with sync_playwright() as playwright:
        made = playwright.chromium.launch(executable_path=chromium, args=list(_ARGUMENTS))
        yield made
        made.close()


class Tab:
    """A page with its documents' messages and requests. Tests share it: a new one takes 0.5 s of processor time."""

    def __init__(self, browser: Browser, *, script: bool) -> None:
        self.script = script
        self._own: tuple[str, ...] = ()
        self._said: list[str] = []
        self._asked: list[str] = []
        context = browser.new_context(java_script_enabled=script)
        context.set_default_timeout(30_000)
        self._page = context.new_page()
        self._page.on("console", lambda message: self._said.append(message.text))
        self._page.on("pageerror", lambda error: self._said.append(str(error)))
        self._page.on("dialog", self._dismiss)
        self._page.on("request", self._note)

    def _dismiss(self, dialog: Dialog) -> None:
        self._said.append(dialog.message)
        dialog.dismiss()

    def _note(self, request: Request) -> None:
        if not request.url.startswith(self._own):
            self._asked.append(request.url)

    def open(self, url: str, own: tuple[str, ...], size: tuple[int, int], scheme: str) -> Page:
        """Open a document as a new window of this size does. `own` are the beginnings of URLs that it may ask for."""
        self._own = own
        self._page.set_viewport_size({"width": size[0], "height": size[1]})
        self._page.emulate_media(media="null", color_scheme=scheme, reduced_motion="reduce")  # type: ignore[arg-type]
        self._page.goto(url)
        return self._page

    def leave(self) -> tuple[list[str], list[str]]:
        """Leave the document. Return its messages, and the URLs of others that it asked for."""
        self._own += ("about:blank",)
        self._page.goto("about:blank")
        self._page.mouse.move(0, 0)
        self._page.context.clear_permissions()
        left = self._said[:], self._asked[:]
        self._said.clear()
        self._asked.clear()
        return left


@pytest.fixture(scope="module")
def idle_tabs() -> list[Tab]:
    """Tabs of the browser that no test uses."""
    return []


@pytest.fixture
def open_page(browser: Browser, idle_tabs: list[Tab]) -> Iterator[Open]:
    """Open a page, and hold at the end that it said nothing and asked for nothing but files of its `site`."""
    used: list[Tab] = []

    def start(
        path: Path,
        fragment: str = "",
        *,
        size: tuple[int, int] = DESKTOP,
        script: bool = True,
        site: Path | None = None,
        color_scheme: str = "light",
    ) -> Page:
        tab = next((tab for tab in idle_tabs if tab.script == script), None)
        if tab:
            idle_tabs.remove(tab)
        used.append(tab or Tab(browser, script=script))
        own = ((site or path).as_uri(), "data:image/svg+xml,")
        return used[-1].open(path.as_uri() + fragment, own, size, color_scheme)

    yield start
    left = [tab.leave() for tab in used]
    idle_tabs += used
    assert [said for said, _ in left if said] == []
    assert [asked for _, asked in left if asked] == []
