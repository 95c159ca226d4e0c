"""Tasks of operators: the service was down from 2 to 9; a history was downloaded."""

import json
from codecs import BOM_UTF8
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import expect

from receiver.clock import now, to_micros
from tests.harness.console_client import OPS, ConsoleClient
from tests.harness.rows import table_rows
from tests.harness.service import Service, serving, wait_until
from tests.harness.ship24 import body, event, item
from tests.harness.ship24_api import KEY, FakeShip24, fake_ship24
from tests.harness.storage import add_row, update_rows
from tests.harness.tasks import Task
from tests.harness.workbook import write_workbook

HOUR = 3_600_000_000


@pytest.fixture(scope="module")
def vendor() -> Iterator[FakeShip24]:
    with fake_ship24() as running:
        yield running


@pytest.fixture
def running(tmp_path: Path, vendor: FakeShip24) -> Iterator[Service]:
    """A service that did not run from 8 to 1 hours ago, while the vendor gave up one of two messages."""
    url = f"sqlite:///{tmp_path}/receiver.db"
    tracker = vendor.add("gap")
    first, _lost = (tracker.send(item(f"m{n}", "gap", [event(f"e{n}", f"2025-05-0{n}T10:00:00")])) for n in (1, 2))
    settings = {"ops_tokens": f"anna:{OPS}", "ship24_api_key": KEY, "ship24_api_url": vendor.url}
    with serving(tmp_path / "service", url, **settings) as service:
        assert service.post(body(first)).outcomes() == ["applied"]
        wait_until(lambda: table_rows(url, "service_spans"), "it notes that it runs")
        service.stop()
        at = to_micros(now())
        update_rows(url, "service_spans", began_at=at - HOUR)
        add_row(url, "service_spans", id="before", began_at=at - 20 * HOUR, seen_at=at - 8 * HOUR)
        service.restart()
        yield service


def test_down_for_hours_is_seen_and_repaired(running: Service, task: Task) -> None:
    task.click("link", "Recover")
    task.see("No receiver ran")
    task.click("button", "Reconcile", task.row("No receiver ran"))
    expect(task.row("by anna")).to_contain_text("1 message of 1 tracker", timeout=60_000)
    assert task.actions <= 3
    (event_2,) = running.table("events", "message_id", event_id="e2")
    assert event_2["message_id"] == "m2"


def test_a_downloaded_history_brings_in_what_is_missing(running: Service, vendor: FakeShip24) -> None:
    operator = ConsoleClient(running)
    operator.sign_in(OPS)
    history = BOM_UTF8 + json.dumps({**vendor.trackers["gap"].history(), "padding": "x" * 100_000}).encode()
    for shown in ("Brought in 1 message with 1 event.", "Nothing was missing."):
        reply = operator.upload("/ops/recover", history, "history.json", command="compare", source="ship24")
        assert reply.status == 303
        assert shown in operator.get(reply.headers["location"]).body.decode()


def test_what_cannot_be_read_is_said_on_the_page(running: Service) -> None:
    operator = ConsoleClient(running)
    operator.sign_in(OPS)
    for fields, words in (
        ({"command": "begin"}, "From: expected a time"),
        ({"command": "begin", "since": "tomorrow-ish"}, "From: "),
        ({"command": "begin", "since": "2026-01-02 10:00", "until": "2026-01-01 10:00"}, "To: expected a time after"),
        ({"command": "compare"}, "Choose what the file is"),
        ({"command": "compare", "source": "ship24"}, "Choose a file"),
        ({"command": "compare", "source": "shiipp"}, "Choose a file"),
        ({"command": "nothing"}, "Expected a form of the page Recover"),
    ):
        page = operator.submit("/ops/recover", **fields)
        assert page.status == 200
        assert words in page.body.decode(), words
    for source, content, words in (
        ("ship24", b"{}", "Expected a webhook history"),
        ("shiipp", b"Name\nAnn\n", "x.json: Line 1: expected the packages export"),
        ("shiipp", b"x" * (8 * 2**20 + 1), "Use receiver reconcile shiipp --file"),
    ):
        page = operator.upload("/ops/recover", content, "x.json", command="compare", source=source)
        assert (page.status, words in page.body.decode()) == (200, True), words
    assert operator.submit("/ops/recover", command="stop", run="unknown").status == 404
    assert operator.get("/ops/recover/unknown").status == 404


def test_an_export_of_shiipp_brings_in_what_never_came(running: Service, task: Task, tmp_path: Path) -> None:
    rows = [["Package ID", "Tracking Number", "Manifest Number", "Status"], ["p-1", "TN1", "MAN-1", "shipped"], ["", "=A1"]]
    (tmp_path / "packages.xlsx").write_bytes(write_workbook(rows))
    task.click("link", "Recover")
    task.choose("What it is", "Export of packages, from Shiipp\u2019s Packages page (CSV or XLSX)")
    task.attach("File", tmp_path / "packages.xlsx")
    task.click("button", "Compare")
    task.see("1 package brought in", "MAN-1: shipped in the export, unknown here", "line 3: column Tracking Number: a formula")
    assert task.actions <= 4
    task.click("link", "p-1")
    task.see("TN1")
    task.page.go_back()
    task.click("link", "Back to Recover")
    expect(task.row("Shiipp, by anna")).to_contain_text("packages.xlsx")
