"""The list of changes for targets: its states, its filters and its pages, however much waits."""

from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import Connection, event
from sqlalchemy.engine import Engine

from receiver.clock import iso
from receiver.errors import UnexpectedShape
from receiver.storage.database import Database
from receiver.storage.queries import ChangeFilter, list_changes
from receiver.storage.queries.pages import write_cursor
from tests.harness.storage import change as change_database
from tests.harness.storage import make_tables
from tests.harness.table import each_row

_AT = 1_790_000_000_000_000
_KEY = "target, source, tracker_id, move"


def fill(url: str) -> None:
    """Store changes of each state for `shop`, and one that waits for `other`."""
    waiting = f"INSERT INTO dispatches ({_KEY}, event_id, due_at, attempts, error, made_at) VALUES "
    rows = [("f2", "'no'", 2), ("f1", "'no'", 1), ("f3", "'no'", 3), ("w2", "NULL", 1), ("w1", "NULL", 9)]
    values = [f"('shop', 'ship24', '{tracker}', 1, 'e', {_AT}, 1, {error}, {_AT + at})" for tracker, error, at in rows]
    values.append(f"('other', 'shiipp', 'other', {(1 << 30) + 4}, '', {_AT}, 0, NULL, {_AT})")
    gone = f"('shop', 'ship24', 'dead', 2, 'e', {_AT + 5}, 13, 'no')"
    dead = f"INSERT INTO dead_changes ({_KEY}, event_id, died_at, attempts, error) VALUES {gone}"
    taken = [f"('shop', 'ship24', 'd{at}', 1, 'id', {_AT + at}, 1, 200)" for at in (1, 2)]
    delivered = f"INSERT INTO delivered_changes ({_KEY}, change_id, delivered_at, attempts, status) VALUES {', '.join(taken)}"
    change_database(url, waiting + ", ".join(values), dead, delivered)


@pytest.fixture
def filled(database_url: str) -> Iterator[Database]:
    make_tables(database_url)
    fill(database_url)
    database = Database(database_url)
    yield database
    database.close()


def names(items: list[dict[str, Any]]) -> list[str]:
    return [item["tracker_id"] for item in items]


def test_changes_are_listed_by_state_and_each_filter_narrows_the_list(filled: Database) -> None:
    expected = {
        ChangeFilter(): ["f1", "f2", "f3", "dead", "other", "w1", "w2", "d2", "d1"],
        ChangeFilter(target="shop"): ["f1", "f2", "f3", "dead", "w1", "w2", "d2", "d1"],
        ChangeFilter(target="nobody"): [],
        ChangeFilter(state="failing"): ["f1", "f2", "f3"],
        ChangeFilter(state="waiting"): ["other", "w1", "w2"],
        ChangeFilter(state="dead"): ["dead"],
        ChangeFilter(state="delivered"): ["d2", "d1"],
        ChangeFilter(state="not_delivered"): ["f1", "f2", "f3", "dead", "other", "w1", "w2"],
        ChangeFilter("shop", "not_delivered"): ["f1", "f2", "f3", "dead", "w1", "w2"],
        ChangeFilter(source="shiipp"): ["other"],
        ChangeFilter(source="ship24", tracker_id="d1"): ["d1"],
        ChangeFilter(source="ship24", tracker_id="f2"): ["f2"],
        ChangeFilter(since=_AT + 3): ["f3", "dead", "w1"],
        ChangeFilter(until=_AT + 2): ["f1", "other", "w2", "d1"],
        ChangeFilter("shop", "failing", "ship24", None, _AT + 2, _AT + 3): ["f2"],
        ChangeFilter(target="\0"): [],
    }
    assert {wanted: names(list_changes(filled, wanted).items) for wanted in expected} == expected


@each_row("wanted", [ChangeFilter(), ChangeFilter(target="shop"), ChangeFilter(source="ship24"), ChangeFilter(since=_AT + 2)])
def test_pages_of_every_size_have_each_change_once(filled: Database, wanted: ChangeFilter) -> None:
    whole = list_changes(filled, wanted).items
    for limit in (1, 2, 3, 200):
        found, cursor = [], None
        while True:
            page = list_changes(filled, wanted, limit, cursor)
            assert len(page.items) <= limit
            found += page.items
            cursor = page.next
            if cursor is None:
                break
        assert found == whole


def test_a_change_says_its_tracker_its_number_its_target_and_its_state(filled: Database) -> None:
    (item,) = list_changes(filled, ChangeFilter(target="other")).items
    assert (item["basis"], item["sequence"], item["state"], item["queued_at"]) == ("shipment", 4, "waiting", iso(_AT))
    (item,) = list_changes(filled, ChangeFilter(state="dead")).items
    assert (item["attempts"], item["last_error"], item["died_at"], item["queued_at"]) == (13, "no", iso(_AT + 5), None)


def test_a_page_reads_a_bounded_number_of_rows_and_the_next_one_goes_on(filled: Database, database_url: str) -> None:
    counted = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 4000) "
    insert = f"INSERT INTO dispatches ({_KEY}, event_id, due_at, attempts, error, made_at) "
    values = f"SELECT 'shop', 'ship24', 'a', n.i, 'e', {_AT}, 0, NULL, {_AT} FROM n"
    change_database(database_url, f"{counted} {insert} {values}")
    wanted = ChangeFilter(state="waiting", since=_AT + 9)
    page = list_changes(filled, wanted)
    assert (page.items, page.next is None) == ([], False)
    assert names(list_changes(filled, wanted, cursor=page.next).items) == ["w1"]


def test_each_statement_of_a_page_uses_an_index_and_sorts_nothing(sqlite_url: str) -> None:
    make_tables(sqlite_url)
    fill(sqlite_url)
    heard: list[tuple[str, Any]] = []

    def hear(_connection: Connection, _cursor: object, statement: str, parameters: Any, *_: object) -> None:
        heard.append((statement, parameters))

    database = Database(sqlite_url)
    event.listen(Engine, "before_cursor_execute", hear)
    try:
        page = list_changes(database, ChangeFilter(), 1)
        for wanted in (ChangeFilter(), ChangeFilter(since=_AT, until=_AT + 9), ChangeFilter(source="ship24", tracker_id="d1")):
            list_changes(database, wanted)
        list_changes(database, ChangeFilter(), 200, page.next)
        list_changes(database, ChangeFilter(), 200, write_cursor("delivered", "shop", _AT + 2, "ship24", "d2", 1))
    finally:
        event.remove(Engine, "before_cursor_execute", hear)
    asked = [(statement, parameters) for statement, parameters in heard if "LIMIT" in statement and "JOIN" not in statement]
    with database.read() as connection:
        plans = [
            [row[3] for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters)]
            for statement, parameters in asked
        ]
    database.close()
    assert len(plans) > 10
    assert [plan for plan in plans if any("TEMP B-TREE" in line or line.startswith("SCAN") for line in plan)] == []


def test_a_cursor_of_another_list_is_refused(filled: Database) -> None:
    with pytest.raises(UnexpectedShape):
        list_changes(filled, ChangeFilter(), cursor=write_cursor("nothing", "shop", 0, "ship24", "t", 1))
