"""Properties that hold for every order, every regrouping and every body that Hypothesis generates."""

from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.conftest import StartService
from tests.harness import ship24, strategies
from tests.harness.rows import Like, table_rows
from tests.harness.service import Service
from tests.harness.storage import make_tables
from tests.harness.store import Store, opened, outcomes
from tests.harness.strategies import arrivals, bodies, histories

_numbers = count(1)
_STATE = (  # all columns of a tracker but those that tell of arrival: version, created_at, applied_at, latest_message_id
    "source, tracker_id, subject, tracking_number, client_tracker_id, shipment_reference, shipment, snapshot_generated_at, "
    "snapshot_message_id, status, status_code, status_category, status_milestone, location, latest_occurrence, latest_order, "
    "latest_event_id, latest_digest"
)
_EVENT = (
    'source, tracker_id, event_id, occurrence, basis, "order", status, status_code, status_category, status_milestone, location, '
    "courier_code, digest"
)


@pytest.fixture
def stores(database_url: str, tmp_path: Path) -> Iterator[tuple[Store, Store]]:
    """The database that is tested, and one beside it where everything arrives in order."""
    plain = f"sqlite:///{tmp_path}/plain.db"
    make_tables(database_url)
    make_tables(plain)
    with opened(database_url) as tested, opened(plain) as reference:
        yield tested, reference


def url_of(store: Store) -> str:
    return store.database.url.render_as_string()


def state_of(store: Store, prefix: str) -> dict[str, list[tuple[Any, ...]]]:
    """Return the rows of the trackers whose ids begin with `prefix`."""
    columns = {"trackers": _STATE, "events": _EVENT, "messages": "message_id, tracker_id, topic, digest"}
    order = {"trackers": "tracker_id", "events": "tracker_id, event_id", "messages": "message_id"}
    of = Like(f"{prefix}-%")
    return {
        name: [tuple(row.values()) for row in table_rows(url_of(store), name, columns[name], order=order[name], tracker_id=of)]
        for name in columns
    }


@settings(max_examples=24)
@given(data=st.data())
def test_any_order_duplication_and_regrouping_ends_in_the_same_state(stores: tuple[Store, Store], data: st.DataObject) -> None:
    tested, reference = stores
    prefix = f"p{next(_numbers)}"
    stories = [data.draw(histories(f"{prefix}-t{number}")) for number in range(data.draw(st.integers(1, 3)))]
    items = [item for story in stories for item in story.items]
    for item in items:
        reference.keep(ship24.body(item))
    for batch in data.draw(arrivals(items)):
        assert all(answer.status == 200 for answer in tested.keep(*batch))
    assert state_of(tested, prefix) == state_of(reference, prefix)
    rows = table_rows(url_of(tested), "trackers", tracker_id=Like(f"{prefix}-%"))
    latest = {row["tracker_id"]: row["latest_event_id"] for row in rows}
    assert latest == {f"{prefix}-t{number}": story.last for number, story in enumerate(stories)}


@settings(max_examples=20)
@given(data=st.data())
def test_in_any_order_a_tracker_is_found_by_the_same_words(stores: tuple[Store, Store], data: st.DataObject) -> None:
    tested, reference = stores
    prefix = f"w{next(_numbers)}"
    story = data.draw(histories(f"{prefix}-t"))
    for item in story.items:
        reference.keep(ship24.body(item))
    for batch in data.draw(arrivals(story.items)):
        tested.keep(*batch)
    words = [{row["term"] for row in table_rows(url_of(store), "terms", tracker_id=f"{prefix}-t")} for store in stores]
    assert words[0] == words[1]


@settings(max_examples=30)
@given(data=st.data())
def test_of_all_copies_of_a_message_one_has_an_effect(stores: tuple[Store, Store], data: st.DataObject) -> None:
    tested, _ = stores
    story = data.draw(histories(f"q{next(_numbers)}-t"))
    seen: list[str] = []
    for batch in data.draw(arrivals(story.items)):
        seen += [outcome for answer in tested.keep(*batch) for outcome in outcomes(answer)]
    assert len(seen) - seen.count("duplicate") <= len(story.items)
    assert set(outcomes(tested.keep(ship24.body(*story.items))[0])) == {"duplicate"}


@pytest.fixture
def served(service: StartService, database_url: str) -> Service:
    return service(database_url)


@settings(max_examples=150)
@given(body=bodies())
def test_no_body_is_a_5xx_and_none_loses_a_byte(served: Service, body: bytes) -> None:
    body = body.replace(strategies.PLACE_OF_NUMBER, b"%08d" % next(_numbers))  # or all would be copies of the first
    answer = served.post(body)
    assert answer.status in {200, 400, 422}, answer
    kept = served.table("bodies", "body", "answer", delivery_id=answer.json()["delivery_id"])
    assert [(bytes(row["body"]), bytes(row["answer"])) for row in kept] == [(body, answer.body)]
    if answer.status == 200:
        counts = answer.json()
        assert sum(counts[name] for name in ("applied", "stale", "duplicate", "recorded", "quarantined")) == counts["received"]
        assert "undecidable" not in {message.get("reason") for message in counts["messages"]}
