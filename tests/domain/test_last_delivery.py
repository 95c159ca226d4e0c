"""The last delivery of a source is the last accepted one, whatever rejected or invalid deliveries follow."""

from collections.abc import Iterator

import pytest

from receiver.clock import from_micros, new_id, to_micros
from receiver.domain.records import Submission
from receiver.errors import InvalidJson, ReceiverError, Unauthorized
from receiver.storage import queries
from receiver.storage.queries import statistics
from receiver.writer.commands.deliveries import Tidy
from tests.conftest import StartService
from tests.harness.service import TOKEN
from tests.harness.ship24 import single
from tests.harness.storage import delete_rows, make_tables
from tests.harness.store import NOW, Store, delivery, opened
from tests.monitoring.test_metrics import labelled, scrape

ACCEPTED_AT = "2025-06-01T12:00:00.000Z"


@pytest.fixture
def store(database_url: str) -> Iterator[Store]:
    make_tables(database_url)
    with opened(database_url) as store:
        yield store


def refuse(store: Store, error: ReceiverError, number: int) -> None:
    """Keep so many refused deliveries that came after NOW."""
    moments = [to_micros(NOW) + 1_000_000 * n for n in range(1, number + 1)]
    later = [delivery(b"")._replace(id=new_id(from_micros(at)), received_at=at, token=None) for at in moments]
    assert None not in store.inbox.keep([Submission(one, error=error) for one in later], NOW)


def last_delivery(store: Store, source: str = "ship24") -> str | None:
    with store.database.read() as connection:
        return queries.read_last_delivery(connection, source)


@pytest.mark.parametrize("error", [Unauthorized("No."), InvalidJson("No.")], ids=["a stranger's", "a broken body"])
def test_the_last_call_is_the_last_accepted_one(store: Store, error: ReceiverError) -> None:
    refuse(store, error, 3)
    assert last_delivery(store) is None
    store.keep(single())
    refuse(store, error, 3)
    assert (last_delivery(store), last_delivery(store, "shiipp")) == (ACCEPTED_AT, None)


def test_behind_more_refused_deliveries_than_are_looked_at_it_is_read_from_the_counts(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(statistics, "_LOOKED_AT", 5)
    store.keep(single())
    refuse(store, InvalidJson("No."), 5)
    assert last_delivery(store) is None, "nothing is counted yet"
    store.executor.do(Tidy(store.executor.counts.take(), to_micros(NOW)))
    assert last_delivery(store) == ACCEPTED_AT, "to the minute"
    delete_rows(store.database.url.render_as_string(hide_password=False), "tallies", span_seconds=60)
    assert last_delivery(store) == ACCEPTED_AT, "to the hour"


def test_api_and_metrics_tell_of_accepted_calls_only(service: StartService, sqlite_url: str) -> None:
    ops = "the-ops-token-of-these-tests"
    running = service(sqlite_url, ops_tokens=ops)
    assert running.post(single(), token="wrong").status == 401
    assert running.post(b"no json", token=TOKEN).status == 400
    assert running.get("/ops/api/stats", ops).json()["sources"]["ship24"]["last_delivery_at"] is None
    assert labelled("receiver_last_call_timestamp_seconds", source="ship24") not in scrape(running)
    assert running.post(single()).status == 200
    assert running.get("/ops/api/stats", ops).json()["sources"]["ship24"]["last_delivery_at"] is not None
