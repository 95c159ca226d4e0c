"""Bodies that never came are brought in: decided as webhooks are, counted as none, once, and never backwards."""

import asyncio
import re
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any, TypeVar

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from receiver import clock
from receiver.clock import new_id, to_micros
from receiver.domain.changes import Subscription
from receiver.domain.imports import Imported, ImportRequest
from receiver.domain.records import Delivery
from receiver.domain.rows import AuditRow
from receiver.errors import BodyTooLarge, InvalidJson, ReceiverError, UnexpectedShape
from receiver.maintenance.bring_in import DeliveryImport
from receiver.sources import make_sources
from receiver.sources.intake import parse_delivery, parse_unread
from receiver.storage.database import Database
from receiver.storage.imports import ImportKeeper
from receiver.storage.transactions import Transactions
from receiver.writer.executor import CommandExecutor, WriterCommand
from receiver.writer.inbox import Inbox
from tests.harness import ship24
from tests.harness.database_contents import check_whole, contents
from tests.harness.rows import table_rows
from tests.harness.storage import make_tables, poison
from tests.harness.table import each_row

R = TypeVar("R")

SOURCES = make_sources({}, {})
SHIP24, PACKAGE, MANIFEST = SOURCES
MAX_FUTURE = timedelta(hours=48)
LIMIT = 1 << 20
PAYLOADS = Path(__file__).parents[1] / "payloads"
_numbers = count(1)


class Desk:
    """A database with the writer's two ways in: webhooks, and an operator's imports."""

    def __init__(self, url: str) -> None:
        make_tables(url)
        self.url = url
        self._database = Database(url)
        self._database.take()
        self._transactions = Transactions(self._database)
        wanted = [Subscription("shop")]
        parse = partial(parse_unread, SOURCES, LIMIT)
        imports = ImportKeeper(self._database, MAX_FUTURE, wanted)
        self._executor = CommandExecutor(self._database, self._transactions, parse, imports=imports)
        self._inbox = Inbox(self._executor, MAX_FUTURE, wanted)
        self.noted: list[Imported] = []
        self._deliveries = DeliveryImport(self._do, SOURCES, LIMIT, self.noted.append)

    async def _do(self, command: WriterCommand[R]) -> R:
        return self._executor.do(command)

    def bring_in(self, source: str, kind: str | None, body: bytes | None, **more: Any) -> Imported:
        def make_entry(now: datetime, action: str, subject: str, detail: str | None) -> AuditRow:
            return AuditRow(new_id(now), to_micros(now), "anna", "192.0.2.1", action, subject, detail)

        return asyncio.run(self._deliveries.bring_in(make_entry, ImportRequest(source, kind, body, **more)))

    def receive(self, kind: str, body: bytes, at: datetime) -> None:
        """Receive a webhook at a time of its own."""
        (source,) = (source for source in SOURCES if source.kind == kind)
        head = (new_id(at), source.name, kind, "POST", source.path, to_micros(at))
        (answer,) = self._inbox.keep([parse_delivery(source, Delivery(*head, None, None, "token-1", None, (), body))], at)
        assert answer is not None
        assert answer.status == 200

    def table(self, table: str, *columns: str, order: str = "", **equal: object) -> list[tuple[Any, ...]]:
        return [tuple(row.values()) for row in table_rows(self.url, table, *columns, order=order, **equal)]

    def close(self) -> None:
        self._transactions.close()
        self._database.close()


@pytest.fixture
def desk(database_url: str) -> Iterator[Desk]:
    found = Desk(database_url)
    yield found
    found.close()


def kind_of(file: Path) -> tuple[str, str | None]:
    if file.parent.name == "ship24":
        return "ship24", None
    return "shiipp", "manifest-status" if "manifest" in file.name or "status" in file.name else "new-package"


def outcomes(imported: Imported) -> list[str]:
    return [verdict.outcome for _, verdict in imported.receipt.messages]


def test_a_dry_run_foretells_what_an_import_does_and_a_second_import_does_nothing(desk: Desk) -> None:
    files = sorted(PAYLOADS.glob("*/*.json"))
    before = contents(desk.url)
    for file in files:
        with suppress(UnexpectedShape):  # such as a body of the API for polling
            desk.bring_in(*kind_of(file), file.read_bytes(), dry_run=True)
    assert (contents(desk.url), desk.noted) == (before, [])
    for file in files:
        bring_in = partial(desk.bring_in, *kind_of(file), file.read_bytes(), sent_at=to_micros(datetime(2026, 1, 5, tzinfo=UTC)))
        try:
            foretold = bring_in(dry_run=True)
        except UnexpectedShape as refusal:
            with pytest.raises(UnexpectedShape, match=re.escape(refusal.message)):
                bring_in()
            continue
        done = bring_in()
        assert outcomes(done) == outcomes(foretold), file.name
        assert (done.counts, done.trackers) == (foretold.counts, foretold.trackers), file.name
        again = bring_in()
        named = [outcome for (name, _), outcome in zip(again.receipt.messages, outcomes(again), strict=True) if name is not None]
        assert set(named) <= {"duplicate"}, file.name
        assert again.trackers == (), file.name
    assert len(desk.noted) == len(table_rows(desk.url, "deliveries")) > 50
    check_whole(desk.url, without=["message without its event"])  # as in quarantine


def test_an_import_is_on_record_with_its_operator_and_changes_what_a_webhook_would(desk: Desk) -> None:
    imported = desk.bring_in("ship24", None, ship24.single("m1", tracker_id="t1"), sent_at=1_000_000, number=3)
    delivery_id = imported.receipt.delivery_id
    columns = ("id", "origin", "sent_at", "body_number", "client", "peer", "token", "note", "outcome", "applied")
    (row,) = desk.table("deliveries", *columns)
    assert row == (delivery_id, "import", 1_002_000, 3, None, None, None, "Brought in by anna.", "accepted", 1)
    entries = desk.table("audit", "actor", "address", "action", "subject", "detail")
    assert entries == [("anna", "192.0.2.1", "deliveries import", delivery_id, "ship24: 1 applied")]
    assert desk.table("dispatches", "target", "tracker_id") == [("shop", "t1")]
    assert table_rows(desk.url, "token_uses") == table_rows(desk.url, "tallies") == []


@each_row(
    "body, error",
    [
        (b"", InvalidJson),
        (b'{"trackings": [', InvalidJson),
        (b'{"trackings": ["\x00"]}', InvalidJson),
        (b'{"trackings": ["\xff"]}', InvalidJson),
        (b"[" * 100_000, InvalidJson),
        (b"[]", UnexpectedShape),
        (b'{"trackings": []}'.ljust(LIMIT + 1), BodyTooLarge),
        (None, BodyTooLarge),
    ],
)
def test_a_body_that_cannot_be_read_leaves_nothing(desk: Desk, body: bytes | None, error: type[ReceiverError]) -> None:
    before = contents(desk.url)
    with pytest.raises(error):
        desk.bring_in("ship24", None, body)
    assert contents(desk.url) == before


def test_a_message_that_our_code_fails_on_is_set_aside_and_the_others_are_brought_in(desk: Desk) -> None:
    poison(desk.url, "poisoned")
    body = ship24.body(ship24.item("poison", "poisoned"), ship24.item("beside"))
    foretold, done = desk.bring_in("ship24", None, body, dry_run=True), desk.bring_in("ship24", None, body)
    assert outcomes(foretold) == outcomes(done) == ["quarantined", "applied"]
    assert desk.table("quarantine", "reason") == [("undecidable",)]
    assert desk.table("messages", "message_id") == [("beside",)]


def test_a_body_as_large_as_the_limit_is_brought_in(desk: Desk) -> None:
    assert desk.bring_in("ship24", None, ship24.single("m1").ljust(LIMIT)).counts["applied"] == 1


@each_row("source, kind", [("ship24", "new-package"), ("shiipp", None), ("shiipp", "customers"), ("dhl", None)])
def test_the_kind_must_be_one_of_the_source(desk: Desk, source: str, kind: str | None) -> None:
    with pytest.raises(UnexpectedShape, match="expected"):
        desk.bring_in(source, kind, b"[]")


def test_a_body_was_not_sent_in_the_future(desk: Desk) -> None:
    soon, later = (to_micros(clock.now() + timedelta(seconds=seconds)) for seconds in (50, 3600))
    with pytest.raises(UnexpectedShape, match="future"):
        desk.bring_in("ship24", None, ship24.single("m1"), sent_at=later)
    assert desk.bring_in("ship24", None, ship24.single("m1"), sent_at=soon).counts["applied"] == 1, "clocks differ"
    ((received_at, sent_at),) = desk.table("deliveries", "received_at", "sent_at")
    assert sent_at == received_at


def manifest(number: str, status: str, **more: str) -> bytes:
    return orjson.dumps({"manifest_number": number, "status": status, **more})


def status_of(desk: Desk, number: str) -> list[Any]:
    return desk.table("trackers", "status", tracking_number=number)


def test_an_old_status_of_a_manifest_does_not_win_over_a_newer_one(desk: Desk) -> None:
    now = clock.now()
    desk.receive("manifest-status", manifest("M1", "shipped"), now - timedelta(hours=1))
    old, lost = to_micros(now - timedelta(hours=2)), to_micros(now - timedelta(minutes=30))
    assert outcomes(desk.bring_in("shiipp", "manifest-status", manifest("M1", "ready"), sent_at=old)) == ["stale"]
    assert outcomes(desk.bring_in("shiipp", "manifest-status", manifest("M1", "completed"), sent_at=lost)) == ["applied"]
    assert status_of(desk, "M1") == [("completed",)]


def test_a_file_of_equal_bodies_is_imported_once(desk: Desk) -> None:
    bodies = [manifest("M1", status) for status in ("shipped", "ready", "shipped")]
    for sent_at in (None, to_micros(clock.now() - timedelta(days=1))):

        def import_all(sent_at: int | None = sent_at) -> list[str]:
            found = []
            for number, body in enumerate(bodies, 1):
                found += outcomes(desk.bring_in("shiipp", "manifest-status", body, sent_at=sent_at, number=number))
            return found

        first, second = import_all(), import_all()
        assert second == ["duplicate"] * 3
        if sent_at is None:
            assert first == ["applied"] * 3
    assert status_of(desk, "M1") == [("shipped",)]


_STATE = "tracking_number, client_tracker_id, shipment, status, status_milestone"  # a status that came again has its first time


@pytest.fixture
def desks(sqlite_url: str, tmp_path: Path) -> Iterator[tuple[Desk, Desk]]:
    tested, reference = Desk(sqlite_url), Desk(f"sqlite:///{tmp_path}/reference.db")
    yield tested, reference
    tested.close()
    reference.close()


@st.composite
def losses(draw: st.DrawFn) -> list[tuple[str, bytes, bool]]:
    """Bodies of one manifest and one package in the order in which they were sent, and whether each never came."""
    number = f"X{next(_numbers)}"
    statuses = draw(st.lists(st.sampled_from(["draft", "ready", "shipped", "completed"]), min_size=1, max_size=5))
    date = draw(st.sampled_from([{}, {"status_date": "2026-01-05"}]))
    notes = st.sampled_from([{}, {"notes": "a"}, {"notes": "b"}])
    sent = [("manifest-status", manifest(number, status, **date, **draw(notes))) for status in statuses]
    for code in draw(st.lists(st.sampled_from("AB"), max_size=4)):
        entered = {"entry_date_time": "2026-01-05T10:00:00"}  # otherwise it is the arrival of the first copy that came
        package = {"package_id": f"P{number}", "tracking_number": number, "user_code": code, **entered}
        sent.insert(draw(st.integers(0, len(sent))), ("new-package", orjson.dumps(package)))
    return [(*each, draw(st.booleans())) for each in sent]


@settings(max_examples=20)
@given(sent=losses())
def test_what_never_came_is_brought_in_as_if_it_had_come_then(
    desks: tuple[Desk, Desk], sent: list[tuple[str, bytes, bool]]
) -> None:
    tested, reference = desks
    began = datetime(2026, 1, 5, 12, tzinfo=UTC) + timedelta(days=next(_numbers))
    times = [began + timedelta(minutes=number) for number in range(len(sent))]
    came = [(kind, body, at) for (kind, body, is_lost), at in zip(sent, times, strict=True) if not is_lost]
    lost = [(kind, body, at) for (kind, body, is_lost), at in zip(sent, times, strict=True) if is_lost]
    for (kind, body, _), at in zip(sent, times, strict=True):
        reference.receive(kind, body, at)
    for kind, body, at in came:
        tested.receive(kind, body, at)
    for kind, body, at in lost:
        tested.bring_in("shiipp", kind, body, sent_at=to_micros(at))
    states = [desk.table("trackers", _STATE, order="tracker_id") for desk in (tested, reference)]
    assert states[0] == states[1] != []
