"""The time zone of the console: chosen once, remembered, and followed by pages, filters, charts and files."""

import html
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

import receiver
from receiver.clock import now, to_micros
from receiver.web.console.formatting import write_minute, write_moment
from receiver.web.console.search import find_minute
from tests.conftest import StartService
from tests.harness import ship24
from tests.harness.console_client import OPS, ConsoleClient
from tests.harness.service import Service, wait_until
from tests.harness.table import each_row

READ = "a-token-that-only-looks-at-all"
PATH = "/ops/time-zone"
TOKYO = ZoneInfo("Asia/Tokyo")  # never changes its clocks
BERLIN = ZoneInfo("Europe/Berlin")


@pytest.fixture
def running(shared_service: StartService) -> Service:
    return shared_service(ops_tokens=f"anna:{OPS}", ops_read_tokens=f"guest:{READ}")


def text_of(anna: ConsoleClient, path: str) -> str:
    answer = anna.get(path)
    assert answer.status == 200, answer
    return answer.body.decode()


def columns(anna: ConsoleClient) -> list[str]:
    """Return where the columns of the charts of the last hour lead to."""
    return [
        html.unescape(url) for url in re.findall(r'class="column" tabindex="-1" href="([^"]+)"', text_of(anna, "/ops?window=1h"))
    ]


@each_row(
    ("utc", "clock", "zone", "is_twice"),
    [
        ("2026-10-25T00:30:00Z", "02:30:00", "CEST", True),
        ("2026-10-25T01:30:00Z", "02:30:00", "CET", True),
        ("2026-10-25T02:30:00Z", "03:30:00", "CET", False),
        ("2026-03-29T00:59:59Z", "01:59:59", "CET", False),
        ("2026-03-29T01:00:00Z", "03:00:00", "CEST", False),
    ],
)
def test_a_moment_where_clocks_change(utc: str, clock: str, zone: str, is_twice: bool) -> None:
    stamp = write_moment(utc, now(), BERLIN)
    assert (stamp.clock, stamp.zone, stamp.is_twice) == (clock, zone, is_twice)
    assert stamp.iso == write_moment(to_micros(datetime.fromisoformat(utc)), now()).iso


def test_a_minute_in_a_link_has_its_offset() -> None:
    assert write_minute("2026-10-25T00:30:00Z", BERLIN) == "2026-10-25T02:30+02:00"
    assert write_minute("2026-10-25T01:30:00Z", BERLIN) == "2026-10-25T02:30+01:00"
    assert write_minute("2026-10-25T01:30:00Z", UTC) == "2026-10-25T01:30Z"
    assert write_moment("2026-10-25T01:30:00Z", now(), ZoneInfo("Asia/Kathmandu")).zone == "UTC+0545"


def test_a_moment_without_a_date_in_a_zone_is_shown_in_utc() -> None:
    stamp = write_moment("9999-12-31T23:59:59Z", now(), ZoneInfo("Pacific/Kiritimati"))
    assert (stamp.iso, stamp.day, stamp.zone) == ("9999-12-31T23:59:59.000Z", "9999-12-31", "UTC")
    assert write_minute("9999-12-31T23:59:59Z", BERLIN) == "9999-12-31T23:59Z"


def test_pages_filters_and_files_follow_the_zone_that_was_chosen(running: Service, anna: ConsoleClient) -> None:
    delivery = running.post(ship24.single()).json()["delivery_id"]
    received = datetime.fromisoformat(running.get(f"/ops/api/deliveries/{delivery}", OPS).json()["received_at"])
    local = received.astimezone(TOKYO)
    assert "Received (UTC)" in text_of(anna, "/ops/deliveries")
    answer = anna.submit(PATH, zone="Asia/Tokyo", next="/ops/deliveries?source=ship24")
    assert (answer.status, answer.headers["location"]) == (303, "/ops/deliveries?source=ship24")
    shown = text_of(anna, "/ops/deliveries")
    assert "Received (Tokyo)" in shown
    assert "Received after (Tokyo)" in shown
    assert f"{local:%H:%M:%S}</span></time>" in shown
    assert f"{local:%H:%M:%S}</span> JST</time>" in text_of(anna, f"/ops/deliveries/{delivery}")
    message = running.get(f"/ops/api/deliveries/{delivery}", OPS).json()["messages"][0]["message_id"]
    assert f"First received at {local:%Y-%m-%d %H:%M:%S} JST in delivery" in text_of(anna, f"/ops/messages/{message}")
    minute = f"{local - timedelta(minutes=1):%Y-%m-%dT%H:%M}"
    assert delivery in text_of(anna, f"/ops/deliveries?since={minute}")
    assert local.isoformat() in text_of(anna, "/ops/deliveries.csv")
    wait_until(lambda: columns(anna), "the counts are written")
    (url, *_) = columns(anna)
    assert "%2B09%3A00" in url
    assert delivery in text_of(anna, url)
    assert "Times are in Asia/Tokyo." in text_of(anna, f"/ops?since={minute}")
    anna.submit(PATH, zone="UTC")
    assert delivery not in text_of(anna, f"/ops/deliveries?since={minute}")  # nine hours ahead


@each_row(
    ("text", "found"),
    [
        ("14:03", "2026-10-25T13:03:00Z"),
        ("yesterday 1:30", "2026-10-23T23:30:00Z"),
        ("2026-10-25 02:30", "2026-10-25T00:30:00Z"),
        ("2026-10-25t14:03", "2026-10-25T13:03:00Z"),
        ("25:99", None),
        ("2026-10-25", None),
        ("JD14:03", None),
    ],
)
def test_a_search_for_a_time_is_one_for_its_minute(text: str, found: str | None) -> None:
    minute = find_minute(text, datetime(2026, 10, 25, 20, 0, tzinfo=UTC), BERLIN)
    assert minute == (None if found is None else to_micros(datetime.fromisoformat(found)))


def test_a_zone_that_nobody_knows_changes_nothing(anna: ConsoleClient) -> None:
    for zone in ("", "Europe/Nowhere", "../../etc/passwd", "Berlin"):
        assert anna.submit(PATH, zone=zone).status == 422
        anna.cookies["receiver_zone"] = zone or "x"
        assert "Times in <a" in text_of(anna, "/ops/settings")
        assert ">UTC</a>" in text_of(anna, "/ops/settings")
    assert anna.get("/ops?since=soon").status == 422


def test_no_template_names_a_zone_itself() -> None:
    templates = sorted((Path(receiver.__file__).parent / "web/console/templates").glob("*.html"))
    assert len(templates) > 20
    assert [path.name for path in templates if "UTC" in path.read_text(encoding="utf-8")] == []


def test_who_only_looks_has_a_time_zone_too(running: Service) -> None:
    guest = ConsoleClient(running)
    assert guest.sign_in(READ).status == 303
    assert guest.submit(PATH, zone="Asia/Tokyo").status == 303
    assert "disabled" not in text_of(guest, PATH)
    assert "Received after (Tokyo)" in text_of(guest, "/ops/messages")
