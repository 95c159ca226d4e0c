"""Screenshots of the console with a week of simulated traffic.

`python -m tests.harness.screenshots` writes `docs/images/console-light.png` and `console-dark.png`, which README and docs show.
With a folder as its argument it writes every page into that folder, in both themes, for a desktop and a phone.
"""

import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

from playwright.sync_api import Browser

from receiver.web.console.links import to_tracker
from tests.harness import ship24
from tests.harness.browser import DESK, PHONE, Tab, browsing
from tests.harness.changes import SECRET, write_targets
from tests.harness.endpoint import TAKE, answering, say
from tests.harness.sample_database import make_sample_database
from tests.harness.service import ROOT, Service, serving, wait_until

IMAGES = ROOT / "docs" / "images"
THEMES = ("light", "dark")
_OPS_TOKEN = "the-ops-token-of-the-pictures"
_SIZES = {"desktop": DESK, "phone": PHONE}


def find_pages(service: Service) -> dict[str, str]:
    """Return one page of each kind by name, and its path."""
    names = ("accepted", "refused", "unreadable", "failed")
    outcomes = {name: service.table("deliveries", order="id", outcome=name, kind="tracking")[-1]["id"] for name in names}
    stale = service.table("events", outcome="stale", source="ship24")[0]
    return {
        "overview": "/ops",
        "overview-week": "/ops?window=7d",
        "trackers": "/ops/trackers",
        "trackers-none": "/ops/trackers?q=nothing",
        "tracker": to_tracker("ship24", stale["tracker_id"]),
        "tracker-failing": to_tracker("ship24", "new-1"),
        "tracker-manifest": to_tracker("shiipp", "manifest:MAN 001"),
        "trackers-filtered": "/ops/trackers?not_delivered_to=warehouse",
        "message": f"/ops/messages/{stale['message_id']}",
        "deliveries": "/ops/deliveries",
        "deliveries-rejected": "/ops/deliveries?outcome=refused",
        **{f"delivery-{name}": f"/ops/deliveries/{delivery_id}" for name, delivery_id in outcomes.items()},
        "replay": f"/ops/deliveries/{outcomes['accepted']}/replay",
        "delivery-import": "/ops/deliveries/import",
        "messages": "/ops/messages",
        "quarantine": "/ops/quarantine",
        "changes": "/ops/changes",
        "targets": "/ops/targets",
        "recover": "/ops/recover",
        "erasure": "/ops/erasure",
        "search": "/ops/search?q=JAM",
        "time-zone": "/ops/time-zone",
        "customers": "/ops/customers?q=JAM0001",
        "settings": "/ops/settings",
        "setup-window": "/ops/settings/setup-window/ship24",
    }


@contextmanager
def showing() -> Iterator[Service]:
    """Give a service with a week of simulated traffic."""
    with tempfile.TemporaryDirectory() as folder:
        url = f"sqlite:///{folder}/receiver.db"
        make_sample_database(url, datetime.now(UTC))
        with answering(TAKE) as shop, answering(say(422, body=b"unknown carrier fr-post")) as warehouse:
            write_targets(Path(folder) / "service", shop=shop.url, warehouse=warehouse.url)
            settings = {
                "ops_tokens": f"anna:{_OPS_TOKEN}",
                "shiipp_tokens": "shop:the-shiipp-token",
                "ship24_ip_policy": "enforce",
                "ship24_allowed_ips": "3.222.254.223,54.161.7.2,127.0.0.1",
                "target_secrets": f"shop:{SECRET},warehouse:{SECRET}",
            }
            with serving(Path(folder) / "service", url, **settings) as service:
                _send_changes(service)
                yield service


def _send_changes(service: Service) -> None:
    """Send messages whose changes one target takes and the other does not."""
    for number in range(3):
        event = ship24.event(f"new-{number}", f"{datetime.now(UTC) - timedelta(minutes=30 + number):%Y-%m-%dT%H:%M:%SZ}")
        assert service.post(ship24.body(ship24.item(tracker_id=f"new-{number}", events=[event]))).status == 200
    wait_until(lambda: len(service.table("delivered_changes", target="shop")) == 3, "the shop has its changes")
    wait_until(lambda: all(row["error"] for row in service.table("dispatches", target="warehouse")), "the warehouse refuses them")


def take(browser: Browser, service: Service, folder: Path, size: str, theme: str, pages: dict[str, str]) -> None:
    """Write a picture of each page, named after the page, the size and the theme."""
    context = browser.new_context(viewport=_SIZES[size], color_scheme=theme, locale="en-GB")  # type: ignore[arg-type]
    tab = Tab(context, service.url)
    for name, path in pages.items():
        if tab.open(path) == 200 and "/sign-in" in tab.page.url and name != "sign-in":
            tab.sign_in(_OPS_TOKEN)
            tab.open(path)
        height = tab.page.evaluate("document.documentElement.scrollHeight")
        tab.page.set_viewport_size({"width": _SIZES[size]["width"], "height": height})  # the menu is as high as the window
        tab.page.screenshot(path=folder / f"{name}-{size}-{theme}.png")
        tab.page.set_viewport_size(_SIZES[size])  # type: ignore[arg-type]
    context.close()


def main() -> None:
    """Write the pictures."""
    with showing() as service, browsing() as browser:
        if len(sys.argv) > 1:
            folder = Path(sys.argv[1])
            folder.mkdir(parents=True, exist_ok=True)
            pages = {"sign-in": "/ops/sign-in"} | find_pages(service) | {"not-found": "/ops/nothing"}
            for size in _SIZES:
                for theme in THEMES:
                    take(browser, service, folder, size, theme, pages)
            return
        IMAGES.mkdir(parents=True, exist_ok=True)
        for theme in THEMES:
            take(browser, service, IMAGES, "desktop", theme, {"console": "/ops"})
            (IMAGES / f"console-desktop-{theme}.png").replace(IMAGES / f"console-{theme}.png")


if __name__ == "__main__":
    main()
