"""Relays in other processes are woken after a commit, and never by it: a notification inside would queue up all commits."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest
from sqlalchemy import Engine, event

from receiver.clock import to_micros
from receiver.domain.changes import Subscription
from receiver.storage.database import Database
from receiver.storage.interventions import retry_dead
from receiver.storage.notifications import CHANGES_CHANNEL
from receiver.storage.outbox import Outbox, Outcome
from tests.harness import ship24
from tests.harness.command import run_process
from tests.harness.service import DEADLINE_SECONDS, Service, serving
from tests.harness.storage import add_row, change, make_tables
from tests.harness.store import NOW, Store

HANDLERS = """
from receiver.handlers import on_change

@on_change()
def every(change):
    raise LookupError("it stays")
"""
DEAD = (
    "INSERT INTO dead_changes (target, source, tracker_id, move, event_id, died_at, attempts, error) "
    "SELECT target, source, tracker_id, move, event_id, 5, 13, 'it failed' FROM dispatches"
)


@contextmanager
def opened(url: str) -> Iterator[Store]:
    make_tables(url)
    store = Store(url, (Subscription("all"),))
    try:
        yield store
    finally:
        store.close()


@contextmanager
def recorded() -> Iterator[list[list[str]]]:
    """Give the statements of each transaction that is committed meanwhile; the last list is of what is not committed yet."""
    transactions: list[list[str]] = [[]]

    def note(_connection: Any, _cursor: Any, statement: str, parameters: Any, *_rest: Any) -> None:
        transactions[-1].append(f"{statement} {parameters}")

    def commit(_connection: Any) -> None:
        transactions.append([])

    event.listen(Engine, "before_cursor_execute", note)
    event.listen(Engine, "commit", commit)
    try:
        yield transactions
    finally:
        event.remove(Engine, "before_cursor_execute", note)
        event.remove(Engine, "commit", commit)


def notifies(transaction: list[str]) -> bool:
    return any("notify" in statement.lower() for statement in transaction)


def writes(transaction: list[str]) -> bool:
    return any(statement.lower().startswith(("insert", "update", "delete")) for statement in transaction)


def test_no_transaction_that_writes_sends_a_notification(postgresql_url: str) -> None:
    with opened(postgresql_url) as store, recorded() as transactions:
        outbox, now = Outbox(store.database), to_micros(NOW)

        def run(name: str, *arguments: Any) -> Any:
            return store.transactions.run(lambda connection: getattr(outbox, name)(connection, *arguments))

        store.keep(ship24.single())
        (claimed,) = run("exchange", "all", "me.1", now, now + 1, 1).claimed
        place = claimed.change.source, claimed.change.tracker_id, claimed.change.sequence
        run("settle", "all", now, [Outcome("me.1", *place, "given up")])
        store.transactions.wake_relays()
        run("stop", "all", now, "gone")
        run("resume", "all")
        store.transactions.wake_relays()
        assert store.transactions.run(lambda connection: retry_dead(store.database, connection, "all", now)).changes == 1
        store.transactions.wake_relays()
        store.transactions.wake_relays()
    found = [transaction for transaction in transactions if notifies(transaction)]
    assert [writes(transaction) for transaction in found] == [False] * 3
    assert sum(map(writes, transactions)) >= 5


def test_many_commits_share_a_notification_and_a_commit_without_a_change_has_none(postgresql_url: str) -> None:
    with opened(postgresql_url) as store, recorded() as transactions:
        assert not store.transactions.has_changes()
        body = ship24.single()
        store.keep(body)
        store.keep(ship24.body(ship24.item(tracker_id="other")))
        assert store.transactions.has_changes()
        store.transactions.wake_relays()
        store.keep(body)
        assert not store.transactions.has_changes()
    assert sum(map(notifies, transactions)) == 1


def test_a_notification_that_cannot_be_sent_harms_nothing(postgresql_url: str) -> None:
    with opened(postgresql_url) as store:
        store.keep(ship24.single())
        ended = "application_name = 'receiver writer' AND pid <> pg_backend_pid()"
        change(postgresql_url, f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {ended}")
        store.transactions.wake_relays()
        assert not store.transactions.has_changes()
        assert store.keep(ship24.body(ship24.item(tracker_id="other")))[0].status == 200
        assert store.transactions.has_changes()


def test_who_sends_a_notification_waits_for_no_disk(postgresql_url: str) -> None:
    with opened(postgresql_url) as store, recorded() as transactions:
        store.keep(ship24.single())
        store.transactions.wake_relays()
        kept = store.transactions.run(lambda connection: connection.exec_driver_sql("SHOW synchronous_commit").scalar())
    (sending,) = [transaction for transaction in transactions if notifies(transaction)]
    assert "'synchronous_commit', 'off', true" in sending[-1]
    assert kept == "on", "what is set for it ends with it"


@pytest.fixture
def running(tmp_path: Path, postgresql_url: str) -> Iterator[Service]:
    """A service whose changes stay."""
    (tmp_path / "shop_handlers.py").write_text(HANDLERS, encoding="utf-8")
    with serving(tmp_path, postgresql_url, handlers="shop_handlers") as service:
        yield service


def wakes(url: str, work: Callable[[], object]) -> bool:
    """Tell whether a listener for changes is notified of what `work` does."""

    async def listen() -> bool:
        signs = Database(url).changes_made()
        await anext(signs)
        await asyncio.to_thread(work)
        try:
            await asyncio.wait_for(anext(signs), DEADLINE_SECONDS)
        except TimeoutError:
            return False
        await signs.aclose()  # type: ignore[attr-defined]
        return True

    return asyncio.run(listen())


def test_a_relay_elsewhere_is_woken_by_a_delivery_a_retry_and_a_resume(
    running: Service, postgresql_url: str, direct_url: str, tmp_path: Path
) -> None:
    assert wakes(direct_url, lambda: running.post(ship24.single()))
    change(postgresql_url, DEAD, "DELETE FROM dispatches")
    target = str(running.value("dead_changes", "target"))

    def command(*words: str) -> None:
        done = run_process("targets", *words, cwd=tmp_path, env=running.env)
        assert done.returncode == 0, done.stderr

    assert wakes(direct_url, lambda: command("retry", target))
    add_row(postgresql_url, "stopped_targets", target=target, stopped_at=5, reason="gone")
    assert wakes(direct_url, lambda: command("resume", target))


def test_the_channel_is_the_one_that_the_version_before_listens_to(postgresql_url: str, direct_url: str) -> None:
    with opened(postgresql_url) as store, psycopg.connect(direct_url, autocommit=True) as listener:
        listener.execute("LISTEN receiver_changes")
        store.keep(ship24.single())
        store.transactions.wake_relays()
        (notice,) = listener.notifies(timeout=DEADLINE_SECONDS, stop_after=1)
        assert notice.channel == CHANGES_CHANNEL
