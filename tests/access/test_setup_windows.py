"""Setup windows: open for at most a day, however they were opened."""

from datetime import timedelta

import orjson
import pytest

from receiver.clock import now, to_micros
from receiver.storage import queries
from receiver.storage.database import Database
from tests.conftest import StartService
from tests.harness import ship24
from tests.harness.command import run_command
from tests.harness.service import Reply, Service, wait_until
from tests.harness.storage import add_row, delete_rows, make_tables
from tests.harness.table import each_row

OPS = "the-ops-token-of-these-tests"
HOUR = timedelta(hours=1)


def open_by_api(running: Service, length: timedelta) -> Reply:
    order = {"source": "ship24", "closes_at": (now() + length).isoformat()}
    return running.call("POST", "/ops/api/setup-windows", orjson.dumps(order), [("Authorization", f"Bearer {OPS}")])


def test_a_window_of_more_than_a_day_is_refused_by_api_and_command(service: StartService, sqlite_url: str) -> None:
    running = service(sqlite_url, ops_tokens=OPS, ship24_ip_policy="enforce")
    for length in (24 * HOUR + timedelta(minutes=1), timedelta(days=9000)):
        answer = open_by_api(running, length)
        assert (answer.status, "24 hours" in answer.json()["error"]["message"]) == (422, True)
    done = run_command("setup-window", "ship24", "--minutes", "1441", cwd=running.directory, env=running.env)
    assert done.returncode == 2
    assert running.table("setup_windows") == []
    assert running.table("audit") == []
    assert running.post(ship24.single()).status == 403
    assert open_by_api(running, 23 * HOUR).status == 200
    assert running.post(ship24.single()).status == 200


@pytest.fixture
def tables_url(database_url: str) -> str:
    make_tables(database_url)
    return database_url


@each_row(
    ("opened", "is_open"),
    [(-25 * HOUR, False), (-23 * HOUR, True), (timedelta(0), True), (10 * HOUR, False), (timedelta(days=9000), False)],
    ids=["a day ago", "within the day", "now", "later today", "in many years"],
)
def test_a_row_that_closes_in_ten_years_counts_for_a_day_after_its_opening(
    tables_url: str, opened: timedelta, is_open: bool
) -> None:
    at = to_micros(now())
    delete_rows(tables_url, "setup_windows")
    times = {"opened_at": to_micros(now() + opened), "closes_at": to_micros(now() + timedelta(days=3650))}
    add_row(tables_url, "setup_windows", source="ship24", **times)
    database = Database(tables_url)
    closes_at = queries.setup_windows(database).get("ship24", 0)
    database.close()
    assert (closes_at > at) is is_open
    assert closes_at <= at + (24 * HOUR) // timedelta(microseconds=1) + 1_000_000


def test_a_window_that_was_opened_days_ago_admits_nobody(service: StartService, sqlite_url: str) -> None:
    running = service(sqlite_url, ops_tokens=OPS, ship24_ip_policy="enforce")
    running.stop()
    ages = {"ship24": to_micros(now() - 48 * HOUR), "shiipp": to_micros(now())}
    for source, opened_at in ages.items():
        closes_at = to_micros(now() + timedelta(days=30))
        add_row(sqlite_url, "setup_windows", source=source, opened_at=opened_at, closes_at=closes_at)
    running.env |= {"RECEIVER_SHIIPP_TOKENS": "the-shiipp-token", "RECEIVER_SHIIPP_IP_POLICY": "enforce"}
    running.env |= {"RECEIVER_SHIIPP_ALLOWED_IPS": "192.0.2.1"}
    running.restart()
    wait_until(  # by then the rows were read
        lambda: running.post(b"[]", path="/webhooks/shiipp/new-package", token="the-shiipp-token").status == 200, "it is open"
    )
    assert running.post(ship24.single()).status == 403
