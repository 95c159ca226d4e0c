"""Fixtures for tests with a browser. A module that uses them has a fixture `running`: the service whose console it shows."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest
from playwright.sync_api import Browser, BrowserContext

from tests.conftest import lacking
from tests.harness.browser import DESK, Tab, browsing, find_chromium
from tests.harness.console_client import OPS, ConsoleClient
from tests.harness.service import Service
from tests.harness.tasks import Task

OpenTab = Callable[..., Tab]


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    """A browser for all tests of the console."""
    if find_chromium() is None:
        lacking("Chromium is not installed (Debian package: chromium-headless-shell)")
    with browsing() as opened:
        yield opened


def sign_in(context: BrowserContext, service: Service) -> None:
    """Give a browser's context a session of its own, as the form does."""
    operator = ConsoleClient(service)
    operator.sign_in(OPS)
    context.add_cookies([{"name": name, "value": value, "url": service.url} for name, value in operator.cookies.items()])


@pytest.fixture
def open_tab(browser: Browser, running: Service) -> Iterator[OpenTab]:
    """Open tabs, signed in at first; nothing may have gone wrong in any of them at the end."""
    tabs: list[Tab] = []
    with ExitStack() as stack:

        def open_one(service: Service = running, signed_in: bool = True, **options: object) -> Tab:
            context = browser.new_context(**{"viewport": DESK, "locale": "en-GB", **options})  # type: ignore[arg-type]
            stack.callback(context.close)
            tab = Tab(context, service.url)
            tabs.append(tab)
            if signed_in:
                sign_in(context, service)
                tab.open("/ops")
            return tab

        yield open_one
        wrong = [problem for tab in tabs for problem in tab.wrong]
    assert wrong == []


@pytest.fixture
def task(open_tab: OpenTab) -> Task:
    """A task that begins at the overview."""
    return Task(open_tab())
