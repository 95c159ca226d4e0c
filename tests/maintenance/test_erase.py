"""Erasure of one tracker: its personal data is removed everywhere, and nothing else changes."""

import gzip
import json
import random
import sqlite3
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any

import orjson
import pytest
from sqlalchemy import Connection, inspect

from receiver import clock
from receiver.domain.erasure import (
    Erasure,
    ErasureCounts,
    ErasureSubject,
    StoredBody,
    StoredPart,
    blank_items,
    mentions,
    plan_erasure,
)
from receiver.domain.records import Message
from receiver.domain.replays import ReplayOptions
from receiver.errors import AlreadyRunning, UnexpectedShape
from receiver.sources import make_sources
from receiver.sources.intake import parse_stored
from receiver.storage.database import Database
from receiver.storage.erasure import find_scope, plan_delivery
from receiver.storage.replay import ReplayDecider
from receiver.storage.stored_deliveries import fingerprint, read_delivery
from receiver.storage.transactions import Transactions
from receiver.writer.commands.removal import Erase
from receiver.writer.executor import CommandExecutor
from tests.conftest import StartService
from tests.harness import ship24
from tests.harness.command import run_command
from tests.harness.rows import Row, count_rows, read_rows, table_rows
from tests.harness.service import TOKEN, Service, bearer, environment, name_of, wait_until
from tests.harness.ship24 import Item, body, event, item
from tests.harness.storage import WAITING, add_row, forbid_packing, make_tables, update_rows
from tests.harness.store import Store, opened
from tests.harness.table import each_row

OPS = "the-ops-token-of-these-tests"
PACKAGES = "/webhooks/shiipp/new-package"
MANIFESTS = "/webhooks/shiipp/manifest-status"
SHIIPP = "the-shiipp-token-of-these-tests"

NAME, STREET, CODE = "Wilhelmina Planted", "7 Planted Lane", "PLANTED-4711"
PLANTED = (b"planted", "Wïlhelmina".encode())
"""What no file and no dump may hold once it is forgotten; looked for without case."""

SOURCES = make_sources({}, {})
SPLITS = {source.kind: source.split for source in SOURCES}
TRACKED = ErasureSubject("ship24", "forgotten", ("forgotten", "TN-FORGOTTEN"))


def person(tracker_id: str, message_id: str | None = None, *built: Any, **fields: Any) -> Item:
    """Return an item with somebody's data in it."""
    recipient = {"name": NAME, "address": STREET, "postCode": CODE, "city": "Wïlhelmina"}
    shipment = {"shipmentId": "s", "recipient": recipient}
    return item(message_id, tracker_id, *built, **{"shipment": shipment, **fields})


def call(content: bytes, *places: int, kind: str = "tracking", parts: Sequence[StoredPart] = ()) -> StoredBody:
    return StoredBody("d", kind, content, frozenset(places), tuple(parts))


# What is planned


def test_a_body_of_this_tracker_alone_goes_whole() -> None:
    content = body(person("forgotten"), person("forgotten"))
    planned = plan_erasure(TRACKED, call(content), SPLITS["tracking"])
    assert planned is not None
    assert (planned.removed, planned.body) == (True, None)


def test_of_a_body_with_others_only_its_items_become_null() -> None:
    items = [item(tracker_id="other"), person("forgotten"), "odd", item(tracker_id="third")]
    planned = plan_erasure(TRACKED, call(body(*items), 1), SPLITS["tracking"])
    assert planned is not None
    assert planned.body is not None
    assert not planned.removed
    assert json.loads(planned.body) == {"trackings": [items[0], None, "odd", items[3]]}
    before, after = SPLITS["tracking"](body(*items)), SPLITS["tracking"](planned.body)
    assert [after[place] == before[place] for place in range(4)] == [True, False, True, True]


def test_data_beside_the_items_stays_unchanged() -> None:
    root = {"version": 3, "trackings": [person("forgotten"), item()], "note": ["é", 1.10, None]}
    blanked = blank_items(json.dumps(root).encode(), SPLITS["tracking"], {0})
    assert blanked is not None
    assert {**json.loads(blanked), "trackings": None} == {**root, "trackings": None}


def test_a_body_that_would_be_read_otherwise_goes_whole() -> None:
    long_number = body(person("forgotten"), item(weight=12345678901234567890123))
    assert blank_items(long_number, SPLITS["tracking"], {0}) is None
    planned = plan_erasure(TRACKED, call(long_number), SPLITS["tracking"])
    assert planned is not None
    assert planned.removed
    deep = b'{"trackings": [' + b"[" * 300 + b"]" * 300 + b',{"tracker": {"trackerId": "forgotten"}}]}'
    planned = plan_erasure(TRACKED, call(deep), SPLITS["tracking"])
    assert planned is not None
    assert planned.removed


def test_data_behind_a_duplicate_key_is_erased_too() -> None:
    hidden = b'{"trackings": [{"name": "planted"}], "trackings": ' + body(person("forgotten"), item())[14:-1] + b"}"
    blanked = blank_items(hidden, SPLITS["tracking"], {0})
    assert blanked is not None
    assert b"planted" not in blanked


@each_row(
    ("content", "goes"),
    [
        pytest.param(b'{"data": {"trackings": [{"trackingNumber": "tn-forgotten"}]}}', True, id="names it"),
        pytest.param(b'{"data": {"trackings": [{"trackingNumber": "another"}]}}', False, id="does not"),
        pytest.param(b"{half of it: TN-FORGOTTEN", True, id="no JSON"),
        pytest.param("{half: TN-FORGOTTEN".encode("utf-16"), True, id="UTF-16"),
        pytest.param(gzip.compress(b"TN-FORGOTTEN" + random.Random(1).randbytes(5000))[:-2000], True, id="cut gzip"),
        pytest.param(gzip.compress(b"{half: TN-ANOTHER")[:-4], False, id="cut gzip of another"),
    ],
)
def test_an_unreadable_body_goes_if_it_names_the_tracker(content: bytes, goes: bool) -> None:
    planned = plan_erasure(TRACKED, call(content), SPLITS["tracking"])
    assert (planned is not None and planned.removed) == goes


def test_of_an_item_that_is_nested_too_deeply_nothing_stays_if_the_body_names_the_tracker() -> None:
    deep = "[" * 300 + '"TN-FORGOTTEN planted"' + "]" * 300
    for content, others in (
        (b'{"trackings": [%b, %b]}', [orjson.dumps(item(tracker_id="other"))]),
        (b'{"trackings": [%b]}', []),
    ):
        planned = plan_erasure(TRACKED, call(content % (deep.encode(), *others)), SPLITS["tracking"])
        assert planned is not None
        assert b"planted" not in (planned.body or b"")
        assert planned.removed == (not others)
    other = deep.replace("TN-FORGOTTEN", "TN-OTHER")
    assert plan_erasure(TRACKED, call(b'{"trackings": [%b]}' % other.encode()), SPLITS["tracking"]) is None


def test_a_manifest_that_names_a_package_by_its_number_is_erased_with_it() -> None:
    listed = {"manifest_id": "m", "status": "shipped", "packages": [{"trackingNumber": "tn-forgotten", "firstName": NAME}]}
    planned = plan_erasure(TRACKED, call(orjson.dumps([listed]), kind="manifest-status"), SPLITS["manifest-status"])
    assert planned is not None
    assert planned.removed


def test_a_short_number_is_no_name() -> None:
    assert not mentions(b'{"a": "1234567"}', ["1234567"])
    assert mentions(b'{"a": "12345678"}', ["12345678"])
    assert not any(mentions(b'{"a": "%s"}' % other, ["12345678"]) for other in (b"92345678", b"12345679"))
    assert mentions(b'{"a": "tn-Forgotten"}', ["TN-fORGOTTEN"])
    assert mentions(orjson.dumps({"a": 'Ünï"12345'}), ['Ünï"12345'])


def test_an_item_without_a_tracker_is_its_if_it_names_it() -> None:
    nameless = {"metadata": {}, "tracker": {"trackingNumber": "TN-FORGOTTEN"}, "shipment": {"name": NAME}}
    part = StoredPart("q", 1, None, orjson.dumps(nameless))
    planned = plan_erasure(TRACKED, call(body(item(), nameless), parts=[part]), SPLITS["tracking"])
    assert planned is not None
    assert planned.parts == ("q",)
    assert planned.body is not None
    assert NAME.encode() not in planned.body


def test_an_item_of_another_tracker_that_names_this_one_stays() -> None:
    assert plan_erasure(TRACKED, call(body(item(tracker_id="other", note="TN-FORGOTTEN"))), SPLITS["tracking"]) is None


def test_only_a_manifest_that_lists_the_package_is_erased_with_it() -> None:
    listed, other = ({"manifest_id": name, "status": "shipped", "packages": [{"id": name}]} for name in ("forgotten", "another"))
    planned = plan_erasure(TRACKED, call(orjson.dumps([listed, other]), kind="manifest-status"), SPLITS["manifest-status"])
    assert planned is not None
    assert orjson.loads(planned.body or b"") == [None, other]


def test_the_parts_in_quarantine_that_are_of_the_tracker_are_emptied() -> None:
    """Also where the body is pruned or belongs to others."""
    named = b'"TN-FORGOTTEN"'
    parts = [
        StoredPart("at its place", 3, "other", b"1"),
        StoredPart("of the tracker", 0, "forgotten", b"1"),
        StoredPart("of nobody, names it", 0, None, named),
        StoredPart("of nobody, names nothing", 0, None, b"1"),
        StoredPart("of another, names it", 0, "other", named),
        StoredPart("empty already", 3, "forgotten", b""),
    ]
    for content in (None, body(item(tracker_id="other"))):
        planned = plan_erasure(
            TRACKED, StoredBody("d", "tracking", content, frozenset({3} if content is None else ()), tuple(parts)), None
        )
        expected = (["at its place"] if content is None else []) + ["of the tracker", "of nobody, names it"]
        assert planned == Erasure("d", removed=False, body=None, parts=tuple(expected))


def test_a_body_that_cannot_be_searched_stays_and_is_counted() -> None:
    compressed = random.Random(1).randbytes(500)  # as brotli makes it
    for stored in (call(compressed), call(b"")._replace(body=None, is_damaged=True)):
        planned = plan_erasure(TRACKED, stored, SPLITS["tracking"])
        assert planned == Erasure("d", removed=False, body=None, parts=(), unsearched=True)
        assert ErasureCounts().add(planned) == ErasureCounts(unreadable=1)
    with_part = call(compressed, parts=[StoredPart("q", 0, "forgotten", b"1")])
    assert plan_erasure(TRACKED, with_part, None) == Erasure("d", removed=False, body=None, parts=("q",), unsearched=True)
    assert plan_erasure(TRACKED, call(compressed, 0), None) == Erasure("d", removed=True, body=None, parts=())


def test_what_was_erased_is_counted() -> None:
    counts = ErasureCounts().add(Erasure("a", removed=True, body=None, parts=("p",)))
    counts = counts.add(Erasure("b", removed=False, body=b"[]", parts=("q", "r")))
    assert counts.add(Erasure("c", removed=False, body=b"[]", parts=())) == ErasureCounts(removed=1, rewritten=2, emptied=3)


def test_the_record_decides_where_the_body_was_already_emptied() -> None:
    """The field paths may have been others when the delivery arrived."""
    content = b'[{"ref": "forgotten", "who": "planted"}, {"trackingNumber": "2"}]'
    planned = plan_erasure(TRACKED, call(content, 0, kind="new-package"), SPLITS["new-package"])
    assert planned is not None
    assert planned.body is not None
    assert b"planted" not in planned.body
    for gone in (call(content, 7, kind="new-package"), call(b"[", 0, kind="new-package")):
        planned = plan_erasure(TRACKED, gone, SPLITS["new-package"])
        assert planned is not None
        assert planned.removed
    unknown = plan_erasure(TRACKED, call(content, 0, kind="gone"), None)
    assert unknown is not None
    assert unknown.removed


def test_what_was_forgotten_needs_nothing_more() -> None:
    planned = plan_erasure(TRACKED, call(body(person("forgotten"), item()), 0), SPLITS["tracking"])
    assert planned is not None
    assert planned.body is not None
    assert plan_erasure(TRACKED, call(planned.body, 0), SPLITS["tracking"]) is None
    assert plan_erasure(TRACKED, call(body(item()), parts=[StoredPart("q", 0, "forgotten", b"")]), SPLITS["tracking"]) is None


def test_a_reader_that_raises_for_what_was_written_is_believed() -> None:
    def split(content: bytes) -> list[Message]:
        if NAME.encode() not in content:
            raise UnexpectedShape("No.")
        return SPLITS["tracking"](content)

    assert blank_items(body(person("forgotten"), item()), split, {0}) is None


# In storage


SHARED = body(person("first", "m-1"), person("second", "m-2"), item("o-1", "other"))


def planned_for(store: Store, tracker_id: str) -> tuple[StoredBody, Erasure]:
    """Return the one delivery in which a tracker is found, as it was read, and what has to be done to it."""
    scope = find_scope(store.database, "ship24", tracker_id)
    ((delivery_id, positions),) = scope.deliveries.items()
    planned = plan_delivery(store.database, scope.subject, SPLITS, delivery_id, positions)
    assert planned is not None
    return planned


def erase(store: Store, transactions: Transactions, planned: tuple[StoredBody, Erasure]) -> bool:
    return CommandExecutor(store.database, transactions).do(Erase(*planned))


def places_left(url: str) -> list[str | None]:
    """Return the trackers in the one body that is kept, None for those that are erased."""
    (row,) = table_rows(url, "bodies", "body")
    return [each and each["tracker"]["trackerId"] for each in json.loads(bytes(row["body"]))["trackings"]]


def test_two_erasures_of_one_body_do_not_restore_what_the_other_erased(database_url: str) -> None:
    make_tables(database_url)
    with opened(database_url) as store:
        store.keep(SHARED)
        first, second = planned_for(store, "first"), planned_for(store, "second")
        assert erase(store, store.transactions, first)
        assert not erase(store, store.transactions, second)
        assert places_left(database_url) == [None, "second", "other"]
        assert erase(store, store.transactions, planned_for(store, "second"))
        assert places_left(database_url) == [None, None, "other"]


def test_an_erasure_waits_for_one_that_is_not_committed_and_then_reads_again(postgresql_url: str) -> None:
    make_tables(postgresql_url)
    with opened(postgresql_url) as store, closing(Transactions(store.database)) as other, ThreadPoolExecutor() as threads:
        store.keep(SHARED)
        first, second = planned_for(store, "first"), planned_for(store, "second")

        def erase_slowly(connection: Connection) -> Future[bool]:
            assert Erase(*first).write(store.executor, connection)
            waiting = threads.submit(erase, store, other, second)
            wait_until(lambda: read_rows(postgresql_url, WAITING), "the second erasure waits")
            return waiting

        assert not store.transactions.run(erase_slowly).result()
        assert places_left(postgresql_url) == [None, "second", "other"]


def test_what_a_replay_has_set_apart_meanwhile_is_erased_too(database_url: str) -> None:
    make_tables(database_url)
    with opened(database_url) as store:
        store.keep(body(person("first", "m-1", [event("e", "never")]), item("o-1", "other")))
        planned = planned_for(store, "first")
        update_rows(database_url, "quarantine", id="0")  # as a replay does, which writes the row anew
        assert not erase(store, store.transactions, planned)
        assert erase(store, store.transactions, planned_for(store, "first"))
        assert [bytes(row["raw"]) for row in table_rows(database_url, "quarantine", "raw")] == [b""]


def test_a_replay_that_read_a_body_before_it_was_erased_writes_nothing(database_url: str) -> None:
    make_tables(database_url)
    with opened(database_url) as store:
        store.keep(body(person("first", "m-1", [event("e", "9999-01-01")]), item("o-1", "other")))
        planned = planned_for(store, "first")
        delivery = read_delivery(store.database, planned[0].delivery_id)
        order = ReplayOptions(0, force=True, as_read=fingerprint(delivery.body))
        assert erase(store, store.transactions, planned)
        replays = ReplayDecider(store.database, timedelta(hours=48))
        with pytest.raises(AlreadyRunning):
            store.transactions.run(lambda connection: replays.replay(connection, parse_stored(SOURCES, delivery), order))
        assert [bytes(row["raw"]) for row in table_rows(database_url, "quarantine", "raw")] == [b""]
        assert len(table_rows(database_url, "events")) == 1


# In the service


class ErasureCase:
    """A service with deliveries of several people, and an operator who erases one."""

    def __init__(self, running: Service) -> None:
        self.running = running
        self.url = running.database_url

    def forget(self, tracker: str, *options: str, code: int = 0) -> str:
        done = run_command("forget", "--tracker", tracker, *options, cwd=self.running.directory, env=self.running.env)
        assert done.returncode == code, done.stdout + done.stderr
        assert "Traceback" not in done.stderr
        return done.stdout + done.stderr

    def forgotten(self, tracker: str) -> ErasureCounts:
        done = json.loads(self.forget(tracker, "--yes", "--json"))
        return ErasureCounts(**{name: done[name] for name in ErasureCounts._fields})

    def verdicts(self) -> dict[str, list[Row]]:
        """Return all that must not change."""
        tables = ("deliveries", "messages", "sightings", "events", "superseded_events", "kept_changes", "terms")
        kept = {table: table_rows(self.url, table) for table in tables}
        states = ("source", "tracker_id", "version", "tracking_number", "status", "latest_event_id", "moves")
        kept["trackers"] = table_rows(self.url, "trackers", *states)
        return {table: sorted(rows, key=repr) for table, rows in kept.items()}

    def bodies(self) -> list[bytes]:
        return [bytes(row["body"]) for row in table_rows(self.url, "bodies", "body", order="delivery_id")]

    def find_planted(self) -> list[str]:
        """Return where something planted is still found: in the files, their free pages and log included, or in a dump."""
        database = Database(self.url)
        if database.path is not None:
            files = [file for end in ("", "-wal") if (file := Path(f"{database.path}{end}")).exists()]
            held = {str(file): file.read_bytes() for file in files}
        else:
            held = {"dump": dump(self.url)}
        held["bodies"] = b"".join(row["headers"].encode() + row["body"] + row["answer"] for row in table_rows(self.url, "bodies"))
        return [place for place, content in held.items() for planted in PLANTED if planted in content.lower() + content]


def dump(url: str) -> bytes:
    """Return all rows of all tables as text, bytes as what they are."""
    database = Database(url)
    try:
        with database.read() as connection:
            tables = inspect(connection).get_table_names()
            rows = [tuple(row) for table in tables for row in connection.exec_driver_sql(f"SELECT * FROM {table}")]
    finally:
        database.close()
    values = [value for row in rows for value in row if value is not None]
    return b"\n".join(bytes(v) if isinstance(v, bytes | memoryview) else str(v).encode() for v in values)


@pytest.fixture
def case(service: StartService, database_url: str) -> ErasureCase:
    """A case whose bodies are not packed, so that what is left of them in a file or a dump can be found there."""
    make_tables(database_url)
    forbid_packing(database_url)
    return ErasureCase(service(database_url, ops_tokens=OPS, shiipp_tokens=SHIIPP))


@pytest.fixture
def plain(service: StartService, sqlite_url: str) -> ErasureCase:
    """A case in which the database does not matter."""
    return ErasureCase(service(sqlite_url, ops_tokens=OPS))


def tell(case: ErasureCase) -> list[bytes]:
    """Send everything that may name a person; return the bodies."""
    flawed = {"metadata": {}, "tracker": {"trackerId": "person"}, "recipient": NAME}
    nameless = {"metadata": {}, "tracker": {"trackingNumber": "TN-person"}, "recipient": STREET}
    bodies = [
        body(person("person", "m-1", [event("e-1")])),
        body(item("o-1", "other"), person("person", "m-2", [event("e-2", "2025-03-02"), event("bad", "never")])),
        body(person("person", "m-1", [event("e-1")])),  # a copy
        body(person("stranger", "m-1")),  # the same id with other content: a duplicate about another person
        body(person("person", "o-1")),  # and the other way round
        body(flawed, item("o-2", "other")),
        body(nameless, item("o-3", "other")),
        body(person("person", "m-3", [], "2025-04-01T00:00:00Z")),
        json.dumps({"data": {"trackings": [{"trackingNumber": "TN-person", "recipient": CODE}]}}).encode(),
    ]
    for each in bodies:
        case.running.post(each)
    return bodies


def test_nothing_personal_is_left_and_no_verdict_changes(case: ErasureCase) -> None:
    bodies = tell(case)
    assert case.find_planted()
    before = case.verdicts()
    done = case.forgotten("ship24/person")
    assert case.verdicts() == before
    # Three of its own, its id with another's content (on record as its own), another's id with its content, an unreadable one;
    # three shared ones; an event and two items in quarantine.
    assert done == ErasureCounts(removed=6, rewritten=3, emptied=3)
    assert [len(json.loads(kept)["trackings"]) for kept in case.bodies()] == [2, 2, 2]
    assert case.find_planted() == []
    for each in bodies[:3]:
        assert set(case.running.post(each).outcomes()) == {"duplicate"}


def test_the_rest_of_a_shared_call_is_still_told(case: ErasureCase) -> None:
    tell(case)
    case.forgotten("ship24/person")
    told = case.running.get("/ops/api/messages/o-1", token=OPS).json()
    assert told["events"][0]["status"] == "Arrived at the sorting centre"
    tracker = case.running.get("/ops/api/trackers/ship24/person", token=OPS).json()
    assert tracker["tracker"]["shipment"] is None
    assert tracker["tracker"]["latest_event_id"] == "e-2"
    assert tracker["tracker"]["tracking_number"] == "TN-person"
    assert [each["location"] for each in tracker["events"]] == ["Lyon", "Lyon"]


def test_to_forget_twice_is_harmless_and_both_are_on_record(case: ErasureCase) -> None:
    tell(case)
    case.forgotten("ship24/person")
    assert case.forgotten("TN-PERSON") == ErasureCounts()
    entries = table_rows(case.url, "audit", "actor", "action", "subject", order="id")
    actor = name_of(OPS) if case.url.startswith("sqlite") else "command line"
    assert entries == [{"actor": actor, "action": "forget", "subject": "ship24/person"}] * 2


def test_what_comes_afterwards_is_received_as_ever(case: ErasureCase) -> None:
    tell(case)
    case.forgotten("ship24/person")
    later = person("person", "m-9", [event("e-9", "2025-05-01")], "2025-05-01T00:00:00Z", shipment={"shipmentId": "new"})
    assert case.running.post(body(later)).outcomes() == ["applied"]
    state = case.running.get("/ops/api/trackers/ship24/person", token=OPS).json()["tracker"]
    assert (state["shipment"], state["latest_event_id"]) == ({"shipmentId": "new"}, "e-9")


def test_a_package_and_what_its_manifest_says_of_it(case: ErasureCase) -> None:
    """Shiipp's fields are mapped into the shipment block, and a manifest may describe its packages."""
    package = {"packageId": "pkg-person", "trackingNumber": "1Z999", "firstName": NAME, "description": STREET, "manifestId": "M7"}
    manifest = {"manifestId": "M7", "status": "shipped", "packages": [{"packageId": "pkg-person", "firstName": NAME}]}
    headers = [("Content-Type", "application/json"), *bearer(SHIIPP)]
    assert case.running.call("POST", PACKAGES, json.dumps(package).encode(), headers).status == 200
    assert case.running.call("POST", MANIFESTS, json.dumps([manifest]).encode(), headers).status == 200
    assert case.find_planted()
    before = case.verdicts()
    assert case.forgotten("shiipp/pkg-person").removed == 2
    assert case.find_planted() == []
    assert case.verdicts() == before
    assert case.running.call("POST", PACKAGES, json.dumps(package).encode(), headers).outcomes() == ["duplicate"]


def test_manifests_that_named_the_package_earlier_are_erased_too(case: ErasureCase) -> None:
    headers = [("Content-Type", "application/json"), *bearer(SHIIPP)]
    for number in ("M7", "M8"):
        manifest = {"manifestId": number, "status": "ready", "packages": [{"packageId": "pkg-person", "firstName": NAME}]}
        assert case.running.call("POST", MANIFESTS, json.dumps([manifest]).encode(), headers).status == 200
    package = {"packageId": "pkg-person", "trackingNumber": "1Z999", "firstName": NAME, "manifestId": "M9"}
    assert case.running.call("POST", PACKAGES, json.dumps(package).encode(), headers).status == 200
    assert case.forgotten("shiipp/pkg-person").removed == 3
    assert case.find_planted() == []


def test_what_has_an_earlier_number_of_the_tracker_is_erased_too(case: ErasureCase) -> None:
    case.running.post(body(person("person", "m-1", [event()], "2025-03-01T00:00:00Z")))
    renumbered = {"trackerId": "person", "trackingNumber": "TN-changed", "clientTrackerId": "planted by many"}
    case.running.post(body(person("person", "m-2", [event()], "2025-03-02T00:00:00Z", tracker=renumbered)))
    for number in ("TN-person", "TN-changed", "planted by many"):
        case.running.post(json.dumps({"trackingNumber": number, "of": CODE}).encode())
    assert case.forgotten("ship24/person").removed == 4
    assert [json.loads(each)["trackingNumber"] for each in case.bodies()] == ["planted by many"]


def test_messages_of_superseded_versions_are_forgotten_and_the_versions_stay(case: ErasureCase) -> None:
    def version(message_id: str, event_id: str, day: int, built: int) -> Item:
        said = event(event_id, f"2025-03-{day:02}", status=f"day {day}")
        return person("person", message_id, [said], f"2025-04-{built:02}T00:00:00Z")

    apart = person("person", "mended", [event("late", "never")], "2025-04-05T00:00:00Z")
    sent = [version("m-1", "a", 8, 1), version("m-2", "b", 12, 3), version("m-3", "b", 13, 2), version("m-4", "b", 7, 4)]
    for each in [*sent, apart, version("mended", "late", 14, 5)]:
        assert case.running.post(body(each)).status == 200
    before = case.verdicts()
    assert (len(before["superseded_events"]), len(before["kept_changes"])) == (2, 2)
    assert case.forgotten("ship24/person") == ErasureCounts(removed=6, emptied=1)
    assert case.verdicts() == before
    assert case.find_planted() == []
    assert {outcome for each in sent for outcome in case.running.post(body(each)).outcomes()} == {"duplicate"}


def test_errors_about_its_changes_are_forgotten_too(case: ErasureCase) -> None:
    tell(case)
    died_at = clock.to_micros(clock.now())  # long ago, the service would prune them
    dead = {"target": "shop", "source": "ship24", "move": 1, "died_at": died_at, "attempts": 3}
    add_row(case.url, "dead_changes", tracker_id="person", event_id="e-1", error=f"no mail for {NAME}", **dead)
    add_row(case.url, "dead_changes", tracker_id="other", event_id="e", error="kept", **dead)
    case.forgotten("ship24/person")
    assert {row["error"] for row in table_rows(case.url, "dead_changes", "error")} == {"(forgotten)", "kept"}
    assert case.find_planted() == []


def test_it_asks_once_and_an_unknown_tracker_is_told(plain: ErasureCase) -> None:
    tell(plain)
    assert "--yes" in plain.forget("ship24/person", code=2)
    assert "No tracker" in plain.forget("nobody", "--yes", code=1)
    assert "No tracker" in plain.forget("TN-perso", "--yes", code=1), "a beginning is not enough to delete"
    assert "no tracker" in plain.forget("ship24/nobody", "--yes", code=1)
    plain.running.post(body(item(tracker_id="twin", tracker={"trackerId": "twin", "trackingNumber": "TN-person"})))
    several = plain.forget("TN-person", "--yes", code=2)
    assert "TN-person matches 2 trackers; use one of ship24/person, ship24/twin." in several
    shown = run_command("trackers", "show", "TN-person", cwd=plain.running.directory, env=plain.running.env)
    assert (shown.returncode, shown.stderr) == (2, several)
    named = run_command("trackers", "show", "ship24/twin", cwd=plain.running.directory, env=plain.running.env)
    assert (named.returncode, "ship24 twin" in named.stdout) == (0, True)
    assert count_rows(plain.url, "audit") == 0
    told = plain.forget("ship24/person", "--yes")
    assert "statuses and locations stay" in " ".join(told.split())


def test_without_a_service_it_is_done_here(tmp_path: Path, database_url: str) -> None:
    make_tables(database_url)
    with opened(database_url) as store:
        store.keep(body(person("person", "m-1")), body(person("person", "m-2"), item("o-1")))
    env = environment(database_url)
    done = run_command("forget", "--tracker", "ship24/person", "--yes", "--json", cwd=tmp_path, env=env)
    assert done.returncode == 0, done.stderr
    assert {name: json.loads(done.stdout)[name] for name in ("removed", "rewritten", "wal_checkpointed")} == {
        "removed": 1,
        "rewritten": 1,
        "wal_checkpointed": True,
    }
    database = Database(database_url)
    content = database.path.read_bytes() if database.path is not None else dump(database_url)
    assert not any(planted in content.lower() + content for planted in PLANTED)


def test_a_reader_in_the_way_is_told(plain: ErasureCase) -> None:
    tell(plain)
    reader = sqlite3.connect(f"file:{Database(plain.url).path}?mode=ro", uri=True, isolation_level=None)
    try:
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM bodies").fetchone()
        plain.running.post(ship24.single())
        reply = plain.running.call("POST", "/ops/api/forget", b'{"source": "ship24", "tracker_id": "person"}', bearer(OPS))
        assert (reply.status, reply.json()["wal_checkpointed"]) == (200, False)
    finally:
        reader.close()
    assert "in the way" not in plain.forget("ship24/person", "--yes")
    assert plain.find_planted() == []


def test_the_order_is_for_operators_only(plain: ErasureCase) -> None:
    order = b'{"source": "ship24", "tracker_id": "person"}'
    tell(plain)
    assert plain.running.call("POST", "/ops/api/forget", order, bearer(TOKEN)).status == 401
    assert plain.running.call("POST", "/ops/api/forget", b'{"source": "ship24"}', bearer(OPS)).status == 422
    assert plain.running.call("POST", "/ops/api/forget", order.replace(b"person", b"nobody"), bearer(OPS)).status == 404
    assert plain.find_planted()
