"""Ids and digests come back as they were sent, whatever form they have in a SQLite file, and only equal ones are one."""

import json
import os
import sqlite3
import uuid
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from receiver.errors import StorageUnavailable
from receiver.sources import NAMES
from receiver.storage import queries
from receiver.storage.queries import TrackerFilter
from receiver.storage.tables.ids import DigestText, IdText, PackedText, next_id
from receiver.storage.tables.metadata import METADATA
from tests.conftest import StartService, lacking
from tests.harness import ship24
from tests.harness.archive import walk
from tests.harness.command import run_command
from tests.harness.database_contents import contents
from tests.harness.disk import NoDisk, fill, small_disk
from tests.harness.earlier_version import upgrade
from tests.harness.storage import change, make_tables, migrate
from tests.harness.store import Store, opened, outcomes

OPS = "the-ops-token-of-these-tests"
UUID = "248e5a70-278a-4d50-951d-e7c63f8c51c5"
LIKE_A_UUID = [
    UUID,
    UUID.upper(),
    "248E5a70-278a-4d50-951d-e7c63f8c51c5",
    UUID.replace("-", ""),
    "{" + UUID + "}",
    f"urn:uuid:{UUID}",
    f"{UUID} x",
    "g" + UUID[1:],
    UUID[:-1] + "-",
    UUID.replace("-", "_"),
    "248e5a70-278a-4d50-951d-e7c63f8c51c\u0665",
    "248e5a7-0278a-4d50-951d-e7c63f8c51c5",
    "248e5a70-278a-4d50-951d-e7c63f8c51 5",
    "248e5a70-278a-4d50-951d--e7c63f8c51c",
    "a       -    -    -    -           b",
    "00000000-0000-0000-0000-000000000000",
    "ffffffff-ffff-ffff-ffff-ffffffffffff",
    "61626364-6566-6768-696a-6b6c6d6e6f70",
    "abcdefghijklmnop",  # the bytes of the one before
    "=" + UUID,
    "=",
    "z",
]
"""Ids that differ, some of them only in their spelling."""


def is_canonical(text: str) -> bool:
    try:
        return str(uuid.UUID(text)) == text
    except ValueError:
        return False


@given(st.one_of(st.text(), st.uuids().map(str), st.uuids().map(str).map(str.upper), st.sampled_from(LIKE_A_UUID)))
def test_a_canonical_uuid_is_bytes_in_a_file_and_every_other_text_is_itself(text: str) -> None:
    packed = IdText.form.pack(text)
    assert packed == (uuid.UUID(text).bytes if is_canonical(text) else text)
    assert IdText.form.unpack(packed) == text


@given(
    st.one_of(
        st.text(), st.binary(min_size=16, max_size=16).map(bytes.hex), st.text("0123456789abcdefABCDEF", min_size=32, max_size=32)
    )
)
def test_a_digest_is_bytes_in_a_file_and_every_other_text_is_itself(text: str) -> None:
    packed = DigestText.form.pack(text)
    is_digest = len(text) == 32 and all(character in "0123456789abcdef" for character in text)
    assert isinstance(packed, bytes) == is_digest
    assert DigestText.form.unpack(packed) == text


@given(st.integers(0, (1 << 128) - 2).map(lambda number: uuid.UUID(int=number)))
def test_the_next_id_is_the_first_one_behind_and_behind_the_last_there_is_one_too(each: uuid.UUID) -> None:
    assert next_id(str(each)) == str(uuid.UUID(int=each.int + 1))
    last = str(uuid.UUID(int=(1 << 128) - 1))
    assert next_id(last) > last


OF_OPERATIONS = {"audit", "customer_imports", "processes", "reconciliations", "service_spans", "sessions"}
OF_USERS = {"client_tracker_id", "import_id"}
OTHER_IDS = {"against", "cause", "id", "manifest", "package", "stands_by"}
DIGESTS = {"digest", "latest_digest"}


def expected_type(table: str, column: str) -> type[PackedText] | None:
    """Return the type of a text column by its name. Ids in few rows, and those that a user gives, are text everywhere."""
    if table in OF_OPERATIONS or column in OF_USERS or (table, column) == ("deliveries", "cause"):
        return None
    if column in DIGESTS:
        return DigestText
    return IdText if column.endswith("_id") or column in OTHER_IDS else None


def test_every_column_with_an_id_or_a_digest_has_its_type() -> None:
    for table in METADATA.sorted_tables:
        for column in table.columns:
            if column.type.python_type is str:
                found = type(column.type) if isinstance(column.type, PackedText) else None
                assert found == expected_type(table.name, column.name), column


@pytest.fixture
def store(database_url: str) -> Iterator[Store]:
    make_tables(database_url)
    with opened(database_url) as opened_store:
        yield opened_store


def keep(store: Store, *ids: str) -> list[str]:
    """Store a message for each id, which is also that of its tracker and its event."""
    items = [ship24.item(each, each, [ship24.event(each)]) for each in ids]
    return outcomes(store.keep(ship24.body(*items))[0])


def test_each_id_comes_back_as_it_was_sent_and_is_one_of_its_own(store: Store) -> None:
    assert set(keep(store, *LIKE_A_UUID)) == {"applied"}
    assert set(keep(store, *LIKE_A_UUID)) == {"duplicate"}
    for each in LIKE_A_UUID:
        tracker = queries.show_tracker(store.database, "ship24", each)
        message = queries.show_message(store.database, each, NAMES)
        assert (tracker["tracker"]["tracker_id"], message["message_id"], message["tracker_id"]) == (each, each, each)
        assert [event["event_id"] for event in tracker["events"]] == [each]
        assert [event["message_id"] for event in message["events"]] == [each]
        found = queries.list_trackers(store.database, TrackerFilter(each, exact=True)).items
        assert each in [row["tracker_id"] for row in found]
        assert {row["tracker_id"].casefold() for row in found} == {each.casefold()}


@pytest.mark.parametrize("sort", ["newest", "oldest"])
def test_a_list_that_is_read_one_by_one_has_each_id_once(store: Store, sort: str) -> None:
    keep(store, *LIKE_A_UUID)
    wanted = TrackerFilter(sort=sort)
    listed = walk(lambda limit, cursor: queries.list_trackers(store.database, wanted, limit, cursor), 1)
    assert sorted(row["tracker_id"] for row in listed) == sorted(LIKE_A_UUID)
    messages = walk(
        lambda limit, cursor: queries.list_messages(store.database, queries.MessageFilter(sort=sort), limit, cursor), 1
    )
    assert sorted(row["message_id"] for row in messages) == sorted(LIKE_A_UUID)


def test_the_messages_of_one_number_come_one_by_one_with_their_copies(store: Store) -> None:
    for _ in range(4):
        keep(store, UUID, UUID.upper())
    assert [len(list_copies(store, sort)) for sort in ("newest", "oldest")] == [8, 8]


def list_copies(store: Store, sort: str) -> list[dict[str, Any]]:
    wanted = queries.MessageFilter(tracking_number=UUID, sort=sort)
    return walk(lambda limit, cursor: queries.list_messages(store.database, wanted, limit, cursor), 1)


def test_ids_that_differ_in_their_spelling_are_others_for_the_operator_too(service: StartService, sqlite_url: str) -> None:
    running = service(sqlite_url, ops_tokens=OPS)
    other = UUID.upper()
    items = [ship24.item(each, each, [ship24.event(each)], shipment={"recipient": {"name": each}}) for each in (UUID, other)]
    delivery_id = running.post(ship24.body(*items)).json()["delivery_id"]
    assert uuid.UUID(delivery_id)
    for each in (UUID, other):
        assert running.get(f"/ops/api/messages/{each}", OPS).json()["message_id"] == each
        tracker = running.get(f"/ops/api/trackers/ship24/{each}", OPS).json()
        assert [event["event_id"] for event in tracker["events"]] == [each]
    replayed = running.post(b'{"force": true}', path=f"/ops/api/deliveries/{delivery_id}/replay", token=OPS).json()
    assert [item["message_id"] for item in replayed["items"]] == [UUID, other]
    erased = running.post(json.dumps({"source": "ship24", "tracker_id": other}).encode(), path="/ops/api/forget", token=OPS)
    assert erased.json()["rewritten"] == 1
    kept = json.loads(running.get(f"/ops/api/deliveries/{delivery_id}", OPS).json()["body"])["trackings"]
    assert [item and item["tracker"]["trackerId"] for item in kept] == [UUID, None]
    into = running.directory / "rebuilt.db"
    rebuilt = run_command("rebuild", "--into", f"sqlite:///{into}", cwd=running.directory, env=running.env)
    assert rebuilt.returncode == 0, rebuilt.stdout + rebuilt.stderr
    assert kinds_of(into) == {"blob": {uuid.UUID(UUID).bytes}, "text": {other}}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A file of version 0032 with ids of both kinds, as its program wrote them."""
    path = tmp_path / "earlier.db"
    url = f"sqlite:///{path}"
    make_tables(url)
    with opened(url) as kept:
        keep(kept, *LIKE_A_UUID)
        kept.keep(ship24.body(ship24.item("no time", UUID, [ship24.event("e", "yesterday")])))
        kept.keep(ship24.body(ship24.item("newer", UUID, [ship24.event(UUID, status="corrected")], "2026-01-01T00:00:00.000Z")))
        keep(kept, UUID)
    earlier = tmp_path / "0032.db"
    upgrade(f"sqlite:///{earlier}", "0032")
    with closing(sqlite3.connect(earlier, isolation_level=None)) as connection:
        connection.create_function("as_text", 1, _as_text)
        connection.execute("ATTACH ? AS today", (str(path),))
        for table in METADATA.sorted_tables:
            if table.name != "table_versions":
                columns = [column.name for column in table.columns]
                packed = [isinstance(column.type, PackedText) for column in table.columns]
                kinds = ["digest" if isinstance(column.type, DigestText) else "id" for column in table.columns]
                values = [
                    (f'as_text("{name}")' if kind == "id" else f'lower(hex("{name}"))') if is_packed else f'"{name}"'
                    for name, is_packed, kind in zip(columns, packed, kinds, strict=True)
                ]
                given = ", ".join(f'"{name}"' for name in columns)
                connection.execute(f"INSERT INTO main.{table.name} ({given}) SELECT {', '.join(values)} FROM today.{table.name}")
    return earlier


def _as_text(value: str | bytes | None) -> str | None:
    return str(uuid.UUID(bytes=value)) if isinstance(value, bytes) else value


def kinds_of(file: Path) -> dict[Any, set[Any]]:
    """Return the ids of the messages by the type that the file has for them."""
    with closing(sqlite3.connect(file)) as connection:
        found: dict[Any, set[Any]] = {}
        for kind, value in connection.execute("SELECT typeof(message_id), message_id FROM messages"):
            found.setdefault(kind, set()).add(value)
        return found


def test_an_upgrade_packs_the_ids_of_a_file_and_keeps_each_of_them(file: Path, tmp_path: Path) -> None:
    url, today = f"sqlite:///{file}", f"sqlite:///{tmp_path / 'earlier.db'}"
    assert set(kinds_of(file)) == {"text"}
    change(url, "CREATE VIEW mine AS SELECT tracker_id FROM trackers")
    migrate(url)
    packed = {uuid.UUID(each).bytes for each in LIKE_A_UUID if is_canonical(each)}
    assert kinds_of(file)["blob"] == packed
    assert contents(url, {"table_versions"}) == contents(today, {"table_versions"})
    assert kinds_of(file) == kinds_of(tmp_path / "earlier.db")
    with opened(url) as kept:
        assert set(keep(kept, *LIKE_A_UUID)) == {"duplicate"}


def test_an_upgrade_that_fails_at_its_last_table_leaves_the_file_as_it_was(file: Path) -> None:
    url, before = f"sqlite:///{file}", kinds_of(file)
    change(url, "CREATE UNIQUE INDEX mine ON trackers (typeof(tracker_id)) WHERE typeof(tracker_id) = 'blob'")
    with pytest.raises(StorageUnavailable):
        migrate(url)
    assert kinds_of(file) == before
    change(url, "DROP INDEX mine")
    migrate(url)
    assert "blob" in kinds_of(file)


def test_an_upgrade_without_room_says_how_much_it_needs_and_leaves_the_file_as_it_was(file: Path, tmp_path: Path) -> None:
    try:
        with small_disk(tmp_path / "data", 8) as disk:
            path = disk / "receiver.db"
            path.write_bytes(file.read_bytes())
            before, filler = kinds_of(path), fill(disk)
            os.truncate(filler, filler.stat().st_size - (64 << 10))  # room for lock and index, not for the tables
            with pytest.raises(StorageUnavailable, match=r"full\. Make room for up to [1-9]\d* MB, .* and migrate again\.$"):
                migrate(f"sqlite:///{path}")
            filler.unlink()
            assert kinds_of(path) == before
            migrate(f"sqlite:///{path}")
            assert "blob" in kinds_of(path)
    except NoDisk as error:
        lacking(str(error))


def test_no_uuid_is_left_as_text_where_a_file_has_ids(sqlite_url: str) -> None:
    """Search terms are text, so that they are found by their beginning and by their end."""
    make_tables(sqlite_url)
    with opened(sqlite_url) as kept:
        keep(kept, UUID)
        kept.keep(ship24.body(ship24.item(None, UUID, [ship24.event(UUID, "yesterday")])))
    with closing(sqlite3.connect(sqlite_url.removeprefix("sqlite:///"))) as connection:
        left = {
            (table.name, column.name)
            for table in METADATA.sorted_tables
            for column in table.columns
            for (value,) in connection.execute(f'SELECT "{column.name}" FROM {table.name}')
            if isinstance(value, str) and is_canonical(value)
        }
    assert left <= {("terms", "term")}
