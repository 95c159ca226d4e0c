"""Statistics equal the records: across minutes, hours, faults, processes and versions."""

from collections import Counter
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from alembic import command
from alembic.config import Config
from hypothesis import given, settings
from hypothesis import strategies as st

from receiver.clock import from_micros, new_id, to_micros
from receiver.domain.records import Submission
from receiver.errors import AddressNotAllowed, Busy, InvalidJson, Unauthorized
from receiver.sources import NAMES, ship24
from receiver.storage import queries, schema
from receiver.storage.counters import NUMBERS, HourlyCounts, trim_counts, write_counts
from receiver.storage.database import Database
from receiver.storage.queries import statistics
from tests.conftest import StartService
from tests.harness.archive import Archive, archive_at
from tests.harness.load import post_together
from tests.harness.postgresql import Cluster
from tests.harness.rows import read_rows, table_rows
from tests.harness.service import Service, wait_until
from tests.harness.ship24 import body, event, item, single
from tests.harness.storage import change, hold_up
from tests.harness.store import NOW, Store, delivery, opened

_HOUR = 3_600_000_000
_BEGIN = to_micros(NOW)
_ERRORS = {error.code: error for error in (Unauthorized("No."), AddressNotAllowed("No."), InvalidJson("No."), Busy("No."))}
_EVENTS = {"event": [event("e")], "nothing": [], "bad": [event("f", "yesterday")]}
_SUMS = "SELECT outcome, code, sum(calls) AS calls, sum(unrecorded) AS unrecorded FROM tallies WHERE span_seconds = :seconds"
_ROWS = "SELECT outcome, coalesce(code, '') AS code, count(*) AS calls FROM deliveries GROUP BY 1, 2"


@pytest.fixture
def empty(database_url: str) -> Iterator[Archive]:
    with archive_at(database_url) as archive:
        yield archive


def counted(url: str, seconds: int = 60) -> dict[tuple[str, str], int]:
    """Return the counted deliveries by outcome and code."""
    rows = read_rows(url, f"{_SUMS} GROUP BY 1, 2", seconds=seconds)
    return {(row["outcome"], row["code"]): int(row["calls"] - row["unrecorded"]) for row in rows}


def on_record(url: str) -> dict[tuple[str, str], int]:
    """Return the number of delivery rows by outcome and code."""
    return {(row["outcome"], row["code"]): row["calls"] for row in read_rows(url, _ROWS)}


def are_equal(url: str) -> bool:
    return (
        {key: n for key, n in counted(url).items() if n} == {k: n for k, n in counted(url, 3600).items() if n} == on_record(url)
    )


def write(store: Store, tallies: HourlyCounts) -> None:
    counts = tallies.take()
    store.transactions.run(lambda connection: write_counts(connection, store.database.insert, counts))


_calls = st.lists(
    st.tuples(
        st.sampled_from(NAMES),
        st.integers(-2 * _HOUR, 2 * _HOUR),
        st.sampled_from([None, None, None, *_ERRORS]),
        st.lists(st.tuples(st.integers(0, 3), st.sampled_from(list(_EVENTS))), max_size=3),
    ),
    max_size=12,
)
_unrecorded = st.lists(st.tuples(st.integers(-2 * _HOUR, 2 * _HOUR), st.integers(1, 9)), max_size=3)


@settings(max_examples=20)
@given(
    calls=_calls,
    unrecorded=_unrecorded,
    since=st.integers(-2 * _HOUR, 0),
    length=st.sampled_from([1, _HOUR, 80 * _HOUR]),
    ago=st.sampled_from([0, _HOUR, 80 * _HOUR]),
)
def test_statistics_are_what_counting_the_rows_gives(
    empty: Archive, calls: list[Any], unrecorded: list[tuple[int, int]], since: int, length: int, ago: int
) -> None:
    now = _BEGIN + since + length + ago
    empty.clear()
    with opened(empty.url) as store:
        for source, offset, error, items in calls:
            at = from_micros(_BEGIN + offset)
            came = delivery(b"")._replace(id=new_id(at), source=source, received_at=to_micros(at))
            told = ship24.split(body(*(item(str(number), "t", _EVENTS[kind]) for number, kind in items)))
            store.inbox.keep([Submission(came, error=_ERRORS[error]) if error else Submission(came, tuple(told))], at)
            write(store, store.executor.counts)
        for offset, number in unrecorded:
            store.executor.counts.add_unrecorded({("ship24", "refused", "unauthorized"): number}, _BEGIN + offset)
        write(store, store.executor.counts)
        store.transactions.run(lambda connection: trim_counts(connection, now))
    span = 60_000_000 if length + ago < 72 * _HOUR else _HOUR
    begin = (_BEGIN + since) - (_BEGIN + since) % span
    end = _BEGIN + since + length
    end += -end % span  # spans count whole
    shown = queries.show_statistics(empty.database, "", _BEGIN + since, _BEGIN + since + length, NAMES, now=now)
    rows = [row for row in table_rows(empty.url, "deliveries") if begin <= row["received_at"] < end]
    apart = sum(number for offset, number in unrecorded if begin <= _BEGIN + offset < end)
    for source in NAMES:
        found, own = shown["sources"][source], [row for row in rows if row["source"] == source]
        extra = apart if source == "ship24" else 0
        assert (found["deliveries"], found["unrecorded"]) == (len(own) + extra, extra)
        assert {name: found[name] for name in NUMBERS[2:]} == {name: sum(row[name] for row in own) for name in NUMBERS[2:]}
        outcomes = Counter({"refused": extra}) + Counter(row["outcome"] for row in own)
        assert {name: number for name, number in found["outcomes"].items() if number} == outcomes
        assert found["codes"] == Counter({"unauthorized": extra}) + Counter(row["code"] for row in own if row["code"])
    assert shown["rows"]["deliveries"] == len(calls)


def before(seconds: int) -> dict[str, Any]:
    return event(occurrence=(NOW - timedelta(seconds=seconds)).isoformat().replace("+00:00", "Z"))


def test_the_lag_is_that_of_the_latest_events_of_trackers(empty: Archive) -> None:
    with opened(empty.url) as store:
        for seconds in range(1, 100):
            past = [before(10**6), before(10**7)]
            store.keep(single(events=[*past, before(seconds)]), single(events=[event(occurrence="x")]))
        store.keep(single(tracker_id="moved twice", events=[before(200)]), single(tracker_id="moved twice", events=[before(100)]))
    shown = queries.show_statistics(empty.database, "1h", _BEGIN - _HOUR, _BEGIN + _HOUR, NAMES, now=_BEGIN)
    assert shown["sources"]["ship24"]["lag"] == {"events": 100, "p50_seconds": 51.0, "p90_seconds": 91.0, "p99_seconds": 100.0}
    assert shown["sources"]["shiipp"]["lag"] == {"events": 0, "p50_seconds": None, "p90_seconds": None, "p99_seconds": None}
    assert (shown["sources"]["ship24"]["last_delivery_at"], shown["sources"]["shiipp"]["last_delivery_at"]) == (
        "2025-06-01T12:00:00.000Z",
        None,
    )


# Counting


def test_what_was_written_and_is_written_again_counts_once(empty: Archive) -> None:
    with opened(empty.url) as store:
        store.keep(single(), single())
        counts = store.executor.counts.take()
        for _ in range(2):  # the answer to the first commit was lost
            store.transactions.run(lambda connection: write_counts(connection, store.database.insert, counts))
            store.executor.counts.give_back(counts)
        store.keep(single())
        write(store, store.executor.counts)
    assert counted(empty.url) == counted(empty.url, 3600) == {("accepted", ""): 3}


def test_what_could_not_be_written_for_long_is_not_lost_when_new_rows_are_begun(empty: Archive) -> None:
    tallies = HourlyCounts(max_totals=2)
    with opened(empty.url) as store:
        for number in range(10):
            tallies.add_unrecorded({("ship24", "refused", str(number % 3)): 1}, _BEGIN + number % 2 * 60_000_000)
            if number % 3:
                tallies.give_back(tallies.take())
            else:
                write(store, tallies)
        write(store, tallies)
    query = f"{_SUMS} GROUP BY 1, 2"
    for seconds in (60, 3600):
        found = {row["code"]: int(row["unrecorded"]) for row in read_rows(empty.url, query, seconds=seconds)}
        assert found == {"0": 4, "1": 3, "2": 3}
    assert len({row["writer"] for row in table_rows(empty.url, "tallies", "writer")}) > 1


def test_minutes_are_kept_for_days_and_hours_for_a_year(empty: Archive) -> None:
    tallies = HourlyCounts()
    for hours in (0, 24, 24 * 30, 24 * 399, 24 * 401):
        tallies.add_unrecorded({("ship24", "refused", "x"): 1}, _BEGIN - hours * _HOUR)
    with opened(empty.url) as store:
        write(store, tallies)
        store.transactions.run(lambda connection: trim_counts(connection, _BEGIN))
    assert Counter(row["span_seconds"] for row in table_rows(empty.url, "tallies", "span_seconds")) == {60: 2, 3600: 4}
    assert len(queries.read_tallies(empty.database, _BEGIN - 24 * _HOUR, _BEGIN + 1, now=_BEGIN)) == 2
    assert len(queries.read_tallies(empty.database, _BEGIN - 24 * 31 * _HOUR, _BEGIN + 1, now=_BEGIN)) == 3


def test_many_restarts_make_no_more_cells(empty: Archive) -> None:
    with opened(empty.url) as store:
        for _ in range(50):
            tallies = HourlyCounts()
            tallies.add_unrecorded({("ship24", "refused", "x"): 2}, _BEGIN)
            write(store, tallies)
    (cell,) = queries.read_tallies(empty.database, _BEGIN, _BEGIN + 1, now=_BEGIN)
    assert cell.numbers["calls"] == 100
    assert statistics.Cell(cell.begins_at, "ship24", "refused", "x", cell.numbers) == cell


# In the service


def some_calls(running: Service) -> None:
    running.post(body(item(), item()))
    running.post(b"not JSON")
    running.post(single(), token="wrong")


def test_the_end_of_the_service_writes_down_what_was_counted(service: StartService, database_url: str) -> None:
    running = service(database_url)
    some_calls(running)
    assert running.stop() == 0
    assert are_equal(database_url)
    running.restart()
    some_calls(running)
    running.kill()
    wait_until(lambda: are_equal(database_url), "the process that writes has written it down")
    assert sum(counted(database_url).values()) == 6


def test_two_processes_count_beside_each_other(service: StartService, postgresql_url: str) -> None:
    two = service(postgresql_url), service(postgresql_url)
    post_together([single() for _ in range(40)], *two)
    for running in two:
        some_calls(running)
    assert [running.stop() for running in two] == [0, 0]
    assert are_equal(postgresql_url)
    assert sum(counted(postgresql_url).values()) == 46
    assert len({row["writer"] for row in table_rows(postgresql_url, "tallies", "writer")}) == 2


def test_nothing_is_counted_twice_or_lost_while_the_database_is_away(service: StartService, own_cluster: Cluster) -> None:
    url = own_cluster.create_database("away")
    running = service(url, queue_deliveries="1")
    some_calls(running)
    own_cluster.stop("immediate")
    assert {running.post(single()).status for _ in range(5)} == {503}
    own_cluster.start()
    wait_until(lambda: running.get("/readyz").status == 200, "calls are kept again")
    some_calls(running)
    wait_until(lambda: on_record(url).get(("failed", "storage_unavailable")) == 5, "what was refused meanwhile is on record")
    assert running.stop() == 0
    assert are_equal(url)


def test_a_delivery_that_was_answered_503_in_the_end_counts_as_failed(service: StartService, database_url: str) -> None:
    running = service(database_url, commit_timeout_seconds="0.5")
    with hold_up(database_url):
        assert running.post(single("late")).status == 503
    corrected = {("failed", "storage_unavailable"): 1}
    wait_until(lambda: on_record(database_url) == corrected, "the record is corrected")
    assert running.stop() == 0
    assert are_equal(database_url)


# What was there before


def migrate_to(url: str, version: str) -> None:
    database = Database(url)
    config = Config()
    config.set_main_option("script_location", str(schema._SCRIPTS))
    database.take(create=True)
    with database.connect_writer() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, version)
    database.close()


def test_the_migration_counts_what_was_there_before(database_url: str) -> None:
    migrate_to(database_url, "0002")
    names = "kind, method, path, decided_at, body_bytes, recorded, quarantined, stale"
    insert = (
        f"INSERT INTO deliveries (id, source, received_at, status, outcome, code, received, applied, duplicate, {names}) VALUES"
    )
    for n in range(30):
        source, code = NAMES[n % 2], ("NULL", "'unauthorized'", "'storage_unavailable'")[n % 3]
        outcome = ("accepted", "refused", "failed")[n % 3]
        at = _BEGIN + n * 7 * 60_000_000
        row = f"('{n:02}', '{source}', {at}, 200, '{outcome}', {code}, 3, 2, 1, 'tracking', 'POST', '/', {at}, 0, 0, 0, 0)"
        change(database_url, f"{insert} {row}")
    change(
        database_url,
        *(f"INSERT INTO unrecorded VALUES ({_BEGIN + n * 60_000_000}, 'ship24', '{code}', {n + 1})"
          for n, code in enumerate(["busy", "unauthorized", "storage_unavailable"])),
        "INSERT INTO trackers (source, tracker_id, version, subject, snapshot_generated_at, snapshot_message_id, created_at, "
        "applied_at) VALUES ('ship24', 'moved', 1, 'parcel', 0, 'm', 5, 7), ('ship24', 'still', 1, 'parcel', 0, 'm', 6, NULL)",
    )  # fmt: skip
    migrate_to(database_url, "head")
    for seconds in (60, 3600):
        assert counted(database_url, seconds) == on_record(database_url) | {("failed", "busy"): 0}
        rows = table_rows(database_url, "tallies", "unrecorded", "received", "applied", "duplicate", span_seconds=seconds)
        assert [sum(numbers) for numbers in zip(*(row.values() for row in rows), strict=True)] == [6, 90, 60, 30]
    spans = {row["begins_at"] for row in table_rows(database_url, "tallies", "begins_at", span_seconds=3600)}
    assert spans == {_BEGIN + hours * _HOUR for hours in range(4)}
    moved = table_rows(database_url, "trackers", "tracker_id", "moved_at", order="1")
    assert [(row["tracker_id"], row["moved_at"]) for row in moved] == [("moved", 7), ("still", 6)]
