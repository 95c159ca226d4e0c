"""Two PostgreSQL servers in one URL: the primary is found, and a commit waits for the standby."""

import asyncio
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import NamedTuple

import pytest
from sqlalchemy import text

from receiver.domain.records import Submission
from receiver.errors import StorageUnavailable
from receiver.storage.database import Database
from receiver.storage.notifications import notify
from receiver.storage.stored_bodies import read_body
from receiver.storage.transactions import Transactions
from tests.conftest import lacking
from tests.harness import ship24
from tests.harness.postgresql import Cluster, find_binaries, folder_for_servers, following_cluster, running_cluster
from tests.harness.rows import table_rows
from tests.harness.service import DEADLINE_SECONDS, wait_until
from tests.harness.storage import make_tables
from tests.harness.store import NOW, Store, opened, outcomes, submission

_WAITING = "SELECT pid FROM pg_stat_activity WHERE wait_event = 'SyncRep'"
_PORT = "SELECT inet_server_port()"


class Pair(NamedTuple):
    """A primary, its standby, and the part of a URL that names both, the standby first."""

    primary: Cluster
    standby: Cluster
    hosts: str


@pytest.fixture(scope="module")
def pair() -> Iterator[Pair]:
    if find_binaries() is None:
        lacking("PostgreSQL is not installed (Debian package: postgresql)")
    with (
        folder_for_servers() as place,
        running_cluster(place / "one") as primary,
        following_cluster(primary, place / "two") as standby,
    ):
        yield Pair(primary, standby, f"127.0.0.1:{standby.port},127.0.0.1:{primary.port}")


@pytest.fixture
def databases(pair: Pair) -> Iterator[list[Database]]:
    """One database by each way to name both servers; there, too, once it is made at the primary."""
    pair.primary.create_database("named")
    ports = f"{pair.standby.port},{pair.primary.port}"
    one, other = (f"127.0.0.1:{port}" for port in ports.split(","))
    urls = (
        f"postgresql://postgres@{pair.hosts}/named",
        f"postgresql://postgres@/named?host=127.0.0.1,127.0.0.1&port={ports}",
        f"postgresql+psycopg://postgres@/named?host={one}&host={other}",
    )
    wait_until(lambda: "named" in pair.standby.execute("SELECT datname FROM pg_database"), "the standby has it")
    made = [Database(url) for url in urls]
    yield made
    for database in made:
        database.close()
    pair.primary.drop_database("named")


def port_of(database: Database) -> tuple[int, int]:
    """Return the ports of the servers that are written to and read from."""
    with database.connect_writer() as writer, database.read() as reader:
        return writer.execute(text(_PORT)).scalar_one(), reader.execute(text(_PORT)).scalar_one()


def test_of_two_servers_the_primary_is_taken_however_they_are_named(pair: Pair, databases: list[Database]) -> None:
    assert [port_of(database) for database in databases] == [(pair.primary.port, pair.primary.port)] * 3


def test_signs_of_changes_come_from_the_primary(pair: Pair, databases: list[Database]) -> None:
    async def listen(database: Database) -> None:
        signs = database.changes_made()
        await anext(signs)
        with database.connect_writer() as connection:
            notify(connection)
        await asyncio.wait_for(anext(signs), DEADLINE_SECONDS)
        await signs.aclose()  # type: ignore[attr-defined]

    for database in databases:
        asyncio.run(listen(database))


def test_a_server_can_be_read_that_is_no_primary_if_the_url_says_so(pair: Pair, databases: list[Database]) -> None:
    make_tables(f"postgresql://postgres@{pair.hosts}/named")
    database = Database(f"postgresql://postgres@{pair.hosts}/named?target_session_attrs=standby")
    try:
        assert port_of(database) == (pair.standby.port, pair.standby.port)
        with pytest.raises(StorageUnavailable, match="read-only"):
            Transactions(database).run(lambda connection: connection.exec_driver_sql("CREATE TABLE never (number int)"))
    finally:
        database.close()


def test_a_server_that_says_nothing_is_passed_by(pair: Pair) -> None:
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        hosts = f"127.0.0.1:{deaf.getsockname()[1]},{pair.hosts}"
        database = Database(f"postgresql://postgres@{hosts}/postgres?connect_timeout=2")
        try:
            with database.connect_writer() as writer:
                assert writer.execute(text(_PORT)).scalar_one() == pair.primary.port
        finally:
            database.close()


@pytest.mark.parametrize("less", ["off", "local"])
def test_a_commit_waits_for_the_standby_whatever_the_default_is(pair: Pair, databases: list[Database], less: str) -> None:
    pair.primary.execute(f"ALTER DATABASE named SET synchronous_commit = {less}")
    assert databases[0].durability()["synchronous_commit"] == "on"


@pytest.fixture
def store(pair: Pair) -> Iterator[Store]:
    """A store on both servers."""
    pair.primary.create_database("kept")
    pair.primary.execute("ALTER DATABASE kept SET client_min_messages = error")
    url = f"postgresql://postgres@{pair.hosts}/kept"
    make_tables(url)
    with opened(url) as made:
        yield made
    pair.primary.drop_database("kept")


@contextmanager
def gone(standby: Cluster) -> Iterator[None]:
    """Stop a standby as long as the block lasts: whatever happens, commits that wait for it end."""
    standby.stop("immediate")
    try:
        yield
    finally:
        standby.start()


def test_a_commit_on_the_primary_alone_is_not_answered_2xx(pair: Pair, store: Store) -> None:
    body = ship24.single()
    sent = submission(body)
    with ThreadPoolExecutor(1) as threads, gone(pair.standby):
        keeping = threads.submit(store.inbox.keep, [sent], NOW)
        wait_until(lambda: pair.primary.execute(_WAITING), "the commit waits for the standby")
        pair.primary.execute(_WAITING.replace("pid", "pg_cancel_backend(pid)"))
        assert keeping.result() == [None]
    failed = Submission(sent.delivery._replace(body=b""), error=StorageUnavailable("not stored"), was_tried=True)
    (answer,) = store.inbox.keep([failed], NOW)
    assert answer is not None
    assert store.inbox.take_verdicts() == {("ship24", "applied"): 1}
    (row,) = table_rows(store.database.url.render_as_string(), "deliveries", "status", "outcome", "body_bytes", "applied")
    assert row == {"status": 503, "outcome": "failed", "body_bytes": len(body), "applied": 1}
    with store.database.read() as connection:
        stored = read_body(connection, sent.delivery.id)
    assert stored is not None
    assert (stored.body, stored.answer) == (body, answer.body)
    assert outcomes(*store.keep(body)) == ["duplicate"]


def test_a_commit_that_waited_for_the_standby_is_answered_when_it_is_back(pair: Pair, store: Store) -> None:
    with ThreadPoolExecutor(1) as threads:
        with gone(pair.standby):
            keeping = threads.submit(store.keep, ship24.single())
            wait_until(lambda: pair.primary.execute(_WAITING), "the commit waits for the standby")
        assert outcomes(*keeping.result()) == ["applied"]
