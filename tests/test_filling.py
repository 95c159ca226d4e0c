"""The benchmark's large database is one that the service could have written: the same columns are filled, and it goes on from
there.
"""

from collections import defaultdict
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from receiver import clock
from receiver.clock import from_micros, to_micros
from receiver.monitoring import explain
from receiver.sources import make_sources
from receiver.storage import queries
from receiver.storage.database import Database
from tests.bench.filling import copy, fill, living
from tests.conftest import StartService
from tests.harness import ship24
from tests.harness.rows import read_rows, table_rows
from tests.harness.service import Service
from tests.harness.storage import make_tables

_MESSAGES = 600
_MAX_BODY_BYTES = 100_000
_SHIIPP = "the-shiipp-token-of-these-tests"
_TABLES = ("deliveries", "bodies", "messages", "sightings", "events", "trackers", "quarantine", "terms", "links", "token_uses")

Shapes = Mapping[tuple[str, str, str], set[str]]


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small one, which no test writes to."""
    path = tmp_path_factory.mktemp("filled") / "bench.db"
    make_tables(f"sqlite:///{path}")
    fill(path, _MESSAGES, path.with_name("known"))
    return path


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path, filled: Path) -> str:
    """The same of each kind, to go on with."""
    if request.param == "sqlite":
        (tmp_path / "bench.db").write_bytes(filled.read_bytes())
        return f"sqlite:///{tmp_path}/bench.db"
    target = str(request.getfixturevalue("postgresql_url"))
    make_tables(target)
    copy(filled, target)
    return target


def read_shapes(url: str) -> Shapes:
    """Return what stands in each column, by table, outcome (and whether it was a first move) and column: the kinds of values."""
    found: dict[tuple[str, str, str], set[str]] = defaultdict(set)
    for table in _TABLES:
        for row in read_rows(url, f"SELECT * FROM {table}"):
            outcome = f"{row.get('outcome', '')} first" if row.get("move") == 1 else str(row.get("outcome", ""))
            for column, value in row.items():
                found[table, outcome, column].add("empty" if value in {"", b""} else type(value).__name__)
    return found


def call_in_all_ways(service: Service) -> None:
    """Send the messages of the filled database, without deliveries that could not be stored."""

    def post(message_id: str, *events: ship24.Item) -> None:
        service.post(ship24.single(message_id, tracker_id="tracker", events=events))

    def event(event_id: str, occurrence: str, milestone: str | None = "in_transit") -> ship24.Item:
        return ship24.event(event_id, occurrence, order=1, statusCode="transit_handover", statusMilestone=milestone)

    post("first", event("a", "2025-03-01T10:00:00"))
    post("later", event("b", "2025-03-02T10:00:00"))
    post("older", event("c", "2025-03-01T09:00:00"))
    shipment = {"shipmentId": "other", "statusMilestone": None, "recipient": None}
    for number, occurrence in enumerate(("2025-03-01", "2025-03-02", "2025-02-01")):
        events = [event(f"{number}", occurrence, None)]
        body = ship24.single(f"no milestone {number}", tracker_id="other", events=events, shipment=shipment)
        service.post(body)
    post("nothing")
    post("wrong", event("d", "yesterday"))
    post("first", event("a", "2025-03-01T10:00:00"))
    service.post(b"{}", token="not the token")
    service.post(b"not JSON")
    service.post(b"[" * (_MAX_BODY_BYTES + 1))
    package = b'{"package_id": "p", "user_code": "c", "manifest_id": "m"}'
    assert service.post(package, path="/webhooks/shiipp/new-package", token=_SHIIPP).outcomes() == ["applied"]


def show(url: str, tracker: str) -> dict[str, Any]:
    database = Database(url)
    try:
        return queries.show_tracker(database, "ship24", tracker)
    finally:
        database.close()


def test_every_column_holds_what_the_service_writes_there(service: StartService, sqlite_url: str, filled: Path) -> None:
    call_in_all_ways(service(sqlite_url, max_body_bytes=str(_MAX_BODY_BYTES), shiipp_tokens=_SHIIPP))
    written, made = read_shapes(sqlite_url), read_shapes(f"sqlite:///{filled}")
    compared = {place: kinds for place, kinds in made.items() if place[:2] != ("deliveries", "failed")}
    assert compared.keys() == written.keys()
    assert {place: kinds for place, kinds in compared.items() if not kinds <= written[place]} == {}


def test_parcels_live_three_weeks_and_the_living_ones_are_those_that_began_in_the_last_three(filled: Path) -> None:
    url, known = f"sqlite:///{filled}", filled.with_name("known")
    query = "SELECT max(received_at) - min(received_at) AS micros FROM messages WHERE source = 'ship24' GROUP BY tracker_id"
    spans = [timedelta(microseconds=row["micros"]) for row in read_rows(url, query)]
    between = timedelta(days=60) / len(spans)  # two new parcels
    assert len(spans) == _MESSAGES // 10
    assert timedelta(days=14) < max(spans) <= timedelta(days=21) + between
    began = {row["tracker_id"]: row["created_at"] for row in table_rows(url, "trackers", source="ship24")}
    everyone, alive = ({line.split()[0] for line in file.read_text().splitlines()} for file in (known, living(known)))
    assert everyone == began.keys()
    filled_at = from_micros(int(living(known).stat().st_mtime) * 1_000_000)
    assert alive == {tracker for tracker, at in began.items() if at >= to_micros(filled_at - timedelta(days=21))}


def test_the_database_is_whole_and_has_all_indexes(sqlite_url: str, filled: Path) -> None:
    make_tables(sqlite_url)
    indexes = "SELECT name, sql FROM sqlite_master WHERE type = 'index' ORDER BY name"
    assert read_rows(f"sqlite:///{filled}", indexes) == read_rows(sqlite_url, indexes)
    assert [*read_rows(f"sqlite:///{filled}", "PRAGMA integrity_check")[0].values()] == ["ok"]


def test_sizes_of_calls_are_those_of_their_bytes(filled: Path) -> None:
    rows = read_rows(f"sqlite:///{filled}", "SELECT * FROM deliveries JOIN bodies ON delivery_id = id")
    assert rows
    assert [row["id"] for row in rows if row["body_bytes"] != len(row["body"])] == []


def test_the_service_moves_its_trackers_on_and_knows_what_was_kept(service: StartService, url: str, filled: Path) -> None:
    tracker, _, order = filled.with_name("known").read_text(encoding="ascii").splitlines()[0].split()
    soon = (clock.now() + timedelta(hours=1)).isoformat()
    running = service(url)
    before = show(url, tracker)
    new = ship24.single("new", tracker_id=tracker, events=[ship24.event("new", soon, order=int(order) + 1)])
    assert running.post(new).outcomes() == ["applied"]
    after = show(url, tracker)
    assert after["events"] == [after["events"][0], *before["events"]]
    assert after["events"][0]["against"] == before["tracker"]["latest_event_id"]
    assert after["tracker"]["changes"] == before["tracker"]["changes"] + 1
    # the quarantined items of the fill have the digest of other content, so they would be decided afresh
    accepted = "status = 200 AND source = 'ship24' AND quarantined = 0"
    kept = f"SELECT bodies.* FROM bodies JOIN deliveries ON id = delivery_id WHERE {accepted} LIMIT 5"
    assert [running.post(bytes(row["body"])).outcomes() for row in read_rows(url, kept)] == [["duplicate"]] * 5


def test_why_is_told_of_each_verdict(url: str) -> None:
    for outcome in ("applied", "stale", "recorded", "quarantined"):
        row = read_rows(url, "SELECT message_id FROM messages WHERE outcome = :outcome LIMIT 1", outcome=outcome)[0]
        database = Database(url)
        try:
            assert explain.explain(database, make_sources({}, {}), row["message_id"])["outcome"] == outcome
        finally:
            database.close()
