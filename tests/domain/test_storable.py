"""Text from outside is stored on both databases, whatever it contains, and never answered with 5xx."""

from collections.abc import Iterator
from dataclasses import replace
from urllib.parse import quote

import pytest

from receiver.clock import to_micros
from receiver.domain.changes import Subscription
from receiver.domain.records import Submission
from receiver.domain.rows import AuditRow
from receiver.domain.storable import MAX_CHARACTERS, make_storable
from receiver.errors import Unauthorized
from receiver.storage.outbox import Outcome
from receiver.writer.commands.alarms import BeginAlarm, EndAlarm
from receiver.writer.commands.changes import ExchangeChanges, StopTarget
from receiver.writer.commands.operators import WRONG_TOKEN, AddAuditEntry, NoteWrongToken
from tests.conftest import StartService
from tests.harness import ship24
from tests.harness.rows import table_rows
from tests.harness.storage import make_tables
from tests.harness.store import NOW, Store, delivery
from tests.harness.table import each_row

MICROS = to_micros(NOW)
HOSTILE = "a\0b\ud83dc\ude00d" + "\U0001f4e6" * 3 + "x" * 2 * MAX_CHARACTERS
STORED = "a␀b\ufffdc\ufffdd" + "\U0001f4e6" * 3
OPS = "the-ops-token-of-these-tests"


@each_row(
    ("given", "stored"),
    [
        ("", ""),
        ("plain", "plain"),
        ("a\nb\tc\x1b", "a\nb\tc\x1b"),
        ("a\0", "a␀"),
        ("größer \U0001f4e6", "größer \U0001f4e6"),
        ("\ud83d\udce6", "\U0001f4e6"),
        ("\udce6\ud83d", "\ufffd\ufffd"),
        ("cut \ud83d", "cut \ufffd"),
        ("\udcff of a path", "\ufffd of a path"),
        ("x" * 9, "x" * 9),
        ("x" * 11, "x" * 10),
        ("ü" * 11, "ü" * 10),
        ("123456789\ud83d\udce6", "123456789\ufffd"),
    ],
    ids=ascii,
)
def test_a_text_that_can_be_stored_stays_and_any_other_becomes_one(given: str, stored: str) -> None:
    assert make_storable(given, 20 if len(given) < 9 or " " in given else 10) == stored
    assert make_storable(stored) == stored


def test_no_text_stays_none() -> None:
    assert make_storable(None) is None


@pytest.fixture
def store(database_url: str) -> Iterator[Store]:
    make_tables(database_url)
    made = Store(database_url, (Subscription("shop"),))
    yield made
    made.close()


def texts(url: str, table: str, *columns: str) -> list[str]:
    """Return the texts of all rows, and check that none is longer than it may be."""
    found = [value for row in table_rows(url, table, *columns) for value in row.values() if value is not None]
    assert all(len(value) <= MAX_CHARACTERS for value in found)
    return [value[: len(STORED)] for value in found]


def test_whatever_a_target_says_is_put_down(store: Store, database_url: str) -> None:
    store.keep(*(ship24.body(ship24.item(tracker_id=name)) for name in "ab"))
    exchange = ExchangeChanges("shop", "me.1", MICROS, MICROS + 5, 10)
    claimed = store.executor.do(exchange).claimed
    said = [Outcome("me.1", c.change.source, c.change.tracker_id, c.change.sequence, HOSTILE) for c in claimed]
    store.executor.do(replace(exchange, limit=0, outcomes=[said[0], said[1]._replace(due_at=MICROS)]))
    store.executor.do(StopTarget("shop", MICROS, HOSTILE))
    assert texts(database_url, "dispatches", "error") == [STORED]
    assert texts(database_url, "dead_changes", "error") == [STORED]
    assert texts(database_url, "stopped_targets", "reason") == [STORED]


def test_whatever_an_alarm_or_the_audit_is_about_is_put_down(store: Store, database_url: str) -> None:
    begin = BeginAlarm("target", HOSTILE, MICROS, HOSTILE)
    assert store.executor.do(begin) is True
    assert store.executor.do(begin) is False
    assert store.executor.do(EndAlarm("target", HOSTILE, MICROS)) is True
    assert texts(database_url, "alarms", "subject", "message") == [STORED] * 2
    entry = AuditRow("1", MICROS, HOSTILE, HOSTILE, HOSTILE, HOSTILE, HOSTILE)
    store.executor.do(AddAuditEntry(entry))
    store.executor.do(NoteWrongToken(entry._replace(id="2", action=WRONG_TOKEN)))
    assert texts(database_url, "audit", "actor", "address", "subject", "detail") == [STORED] * 8


def test_whatever_a_call_was_refused_for_is_put_down(store: Store, database_url: str) -> None:
    call = delivery(b"")._replace(path=HOSTILE, peer=HOSTILE, client=HOSTILE, note=HOSTILE, headers=(("x", "a\0b\xff"),))
    store.inbox.keep([Submission(call, error=Unauthorized(HOSTILE))], NOW)
    assert texts(database_url, "deliveries", "path", "peer", "client", "note", "reason") == [STORED] * 5


WORDS = (b'"a\\u0000b"', b'"\\ud83d"', b'"\\ude00x"', b'"' + b"x" * 100_000 + b'"')
ORDERS = {
    "targets/resume": b'{"target": %s}',
    "targets/retry": b'{"target": %s}',
    "targets/test": b'{"target": %s}',
    "quarantine/retry": b'{"ids": [%s]}',
    "quarantine/retry (cursor)": b'{"reason": "odd", "cursor": %s}',
    "quarantine/reopen": b'{"ids": [%s]}',
    "quarantine/dismiss": b'{"ids": [%s], "note": "x"}',
    "quarantine/dismiss (filter)": b'{"reason": %s, "note": "x"}',
    "quarantine/dismiss (note)": b'{"reason": "odd", "note": %s}',
    "setup-windows": b'{"source": %s, "closes_at": "2020-01-01T00:00:00Z"}',
    "customers": b'{"rows": [[%s, "{}"]]}',
    "customers (document)": b'{"rows": [["c", %s]]}',
    "prune": b'{"run": %s, "bodies_days": 90}',
    "forget": b'{"source": "ship24", "tracker_id": %s}',
    "deliveries/import": b'{"source": "ship24", "body": %s}',
    "deliveries/import (kind)": b'{"source": "shiipp", "kind": %s, "body": "[]"}',
    "deliveries/import (value)": b'{"source": "shiipp", "kind": "new-package", "body": {"package_id": %s}}',
    "deliveries/1/replay": b'{"force": %s}',
    "deliveries/%00/replay": b"{}",
    "deliveries/%ED%A0%BD/replay": b"{}",
}
QUESTIONS = (
    *("trackers?q=", "trackers/ship24/", "messages/", "deliveries/", "deliveries?message_id="),
    *("quarantine?reason=", "quarantine?q=", "targets/dead?target=", "trackers?cursor="),
)


def test_no_order_and_no_question_with_odd_text_is_answered_5xx(service: StartService, database_url: str) -> None:
    running = service(database_url, ops_tokens=OPS)
    answers = {}
    for path, body in ORDERS.items():
        for word in WORDS:
            sent = body % word if b"%s" in body else body
            answers[path, word[:9]] = running.post(sent, path=f"/ops/api/{path.split(' ')[0]}", token=OPS).status
    for path in QUESTIONS:
        for value in ("a\0b", "\U0001f4e6", "x" * 400):
            answers[path, value[:9].encode()] = running.get(f"/ops/api/{path}{quote(value)}", token=OPS).status
        answers[path, b"half"] = running.get(f"/ops/api/{path}%ED%A0%BD", token=OPS).status
    assert {what: status for what, status in answers.items() if status >= 500} == {}
    assert set(answers.values()) <= {200, 400, 404, 409, 413, 422}
