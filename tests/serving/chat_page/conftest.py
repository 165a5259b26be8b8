"""A real browser, and a server whose model may reason."""

import shutil
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from openk2.inference.engine_process import EngineProcess
from tests.serving.running_server import Server, running

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
BROWSER = next((path for name in BROWSERS if (path := shutil.which(name))), None)
FLAGS = [
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
]


@pytest.fixture(scope="package")
def server(engine: EngineProcess) -> Iterator[Server]:
    with running(engine, thinking="kept") as server:
        yield server


# Not for the session: while Playwright runs, no other test of the process could run an event loop.
@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    if BROWSER is None:
        pytest.skip(f"no browser: none of {BROWSERS} is here")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=BROWSER, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def open_page(browser: Browser, server: Server) -> Iterator[Callable[..., Page]]:
    """Opens the page; in the end nothing may have complained, popped up or left the server."""
    contexts: list[Any] = []
    complaints: list[Any] = []

    def open_page(at: Server = server, **options: Any) -> Page:
        contexts.append(browser.new_context(**options))
        page = contexts[-1].new_page()
        page.set_default_timeout(10_000)
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("dialog", lambda dialog: (complaints.append(dialog.message), dialog.dismiss()))
        page.on("request", lambda request: _is_own(request.url, at) or complaints.append(request))
        page.goto(at.url)
        return page

    yield open_page
    for context in contexts:
        context.close()
    # An answer of 4xx is the test's own doing, and the browser notes each.
    assert [text for text in complaints if "status of 4" not in str(text)] == []


@pytest.fixture
def page(open_page: Callable[..., Page]) -> Page:
    return open_page()


def _is_own(url: str, server: Server) -> bool:
    return url.startswith((f"{server.url}/", "data:", f"blob:{server.url}/"))
