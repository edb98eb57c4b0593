"""A real Chromium. Every page that a test opens must stay silent and ask for nothing but itself."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Dialog, Page

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


def _dismissed(dialog: Dialog) -> str:
    dialog.dismiss()
    return dialog.message


@pytest.fixture
def open_page(browser: Browser) -> Iterator[Open]:
    """Open a page, and hold at the end that it said nothing and asked for nothing but files of its `site`."""
    said: list[str] = []
    asked: list[str] = []
    contexts = []

    def start(
        path: Path,
        fragment: str = "",
        *,
        size: tuple[int, int] = DESKTOP,
        script: bool = True,
        site: Path | None = None,
        **more: str,
    ) -> Page:
        context = browser.new_context(
            viewport={"width": size[0], "height": size[1]},
            java_script_enabled=script,
            reduced_motion="reduce",
            **more,  # type: ignore[arg-type]
        )
        context.set_default_timeout(30_000)
        contexts.append(context)
        page = context.new_page()
        own = ((site or path).as_uri(), "data:image/svg+xml,")
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on("dialog", lambda dialog: said.append(_dismissed(dialog)))
        page.on("request", lambda request: None if request.url.startswith(own) else asked.append(request.url))
        page.goto(path.as_uri() + fragment)
        return page

    yield start
    for context in contexts:
        context.close()
    assert said == []
    assert asked == []
