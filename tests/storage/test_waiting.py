"""Counts of the changes that wait for a target, however many there are."""

import pytest

from receiver.clock import iso
from receiver.storage.database import Database
from receiver.storage.queries import MAX_COUNTED, show_targets
from receiver.storage.tables.outbox import BLOCKED
from tests.harness.storage import change as change_database
from tests.harness.storage import make_tables

MADE = 1_790_000_000_000_000
SECOND = 1_000_000


@pytest.fixture
def tables(database_url: str) -> str:
    make_tables(database_url)
    return database_url


def put(number: int, tracker: str, due_at: str, made_at: int = MADE, error: str = "NULL", first: int = 1) -> str:
    """Return the statement that lets changes wait for the target `shop`; `n.i` counts them in `tracker` and `due_at`."""
    counted = f"WITH RECURSIVE n(i) AS (SELECT {first} UNION ALL SELECT i + 1 FROM n WHERE i < {first + number - 1}) "
    columns = "target, source, tracker_id, move, event_id, due_at, attempts, made_at, error"
    values = f"'shop', 'ship24', {tracker}, n.i, 'e', {due_at}, 0, {made_at}, {error}"
    return f"{counted} INSERT INTO dispatches ({columns}) SELECT {values} FROM n"


def shown(url: str) -> dict[str, object]:
    database = Database(url)
    try:
        return show_targets(database, ["shop"])["shop"]
    finally:
        database.close()


@pytest.mark.parametrize(
    "others",
    [
        pytest.param(put(MAX_COUNTED + 1, "'t'", str(BLOCKED), MADE + SECOND, first=2), id="blocked behind it"),
        pytest.param(put(MAX_COUNTED + 1, "'o' || n.i", str(MADE + SECOND), MADE + SECOND), id="due before it"),
        pytest.param(put(MAX_COUNTED + 1, "'o' || n.i", str(MADE + 99 * SECOND), MADE + SECOND), id="due after it"),
    ],
)
def test_a_failing_target_is_shown_as_failing_however_much_waits(tables: str, others: str) -> None:
    failed = put(1, "'t'", str(MADE + 9 * SECOND), error="'shop answered 404.'")
    more = put(MAX_COUNTED + 1, "'x'", str(BLOCKED), MADE + SECOND)
    change_database(tables, failed, others, more)
    state = shown(tables)
    assert (state["failing_since"], state["last_error"]) == (iso(MADE), "shop answered 404.")
    assert state["oldest_due_at"] == iso(MADE)


def test_the_error_shown_is_that_of_the_change_that_fails_for_the_longest_time(tables: str) -> None:
    old = put(1, "'old'", str(MADE + 99 * SECOND), MADE, "'it was away'")
    new = put(1, "'new'", str(MADE + 9 * SECOND), MADE + SECOND, "'it is slow'")
    change_database(tables, old, new)
    assert shown(tables)["last_error"] == "it was away"


@pytest.mark.parametrize(
    ("number", "waiting", "capped"),
    [(0, 0, False), (7, 7, False), (MAX_COUNTED, MAX_COUNTED, False), (MAX_COUNTED + 1, MAX_COUNTED, True)],
)
def test_counts_are_exact_up_to_a_bound_and_marked_beyond_it(tables: str, number: int, waiting: int, capped: bool) -> None:
    if number:
        dead = "INSERT INTO dead_changes (target, source, tracker_id, move, event_id, died_at, attempts, error)"
        moved = f"{dead} SELECT target, source, tracker_id, move, event_id, made_at, 13, 'no' FROM dispatches"
        change_database(tables, put(number, "'t' || n.i", str(MADE)), moved)
    state = shown(tables)
    assert (state["waiting"], state["waiting_capped"]) == (waiting, capped)
    assert (state["dead"], state["dead_capped"]) == (waiting, capped)


def test_the_oldest_change_is_the_one_that_is_due_for_the_longest_time(tables: str) -> None:
    assert shown(tables)["oldest_due_at"] is None
    change_database(tables, put(1, "'a'", str(MADE + SECOND)), put(1, "'b'", str(MADE + 5 * SECOND), error="'no'"))
    assert shown(tables)["oldest_due_at"] == iso(MADE), "its next try is later, but it waits since it was made"
