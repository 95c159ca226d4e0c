"""Behind a pooler in transaction mode: each transaction may get another session without its settings and statements."""

import asyncio
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from pathlib import Path
from subprocess import CompletedProcess

import pytest
from sqlalchemy import Connection, text

from receiver.storage.database import Database
from receiver.storage.transactions import Transactions
from tests.conftest import StartService, lacking
from tests.harness import ship24
from tests.harness.command import run_command, run_process
from tests.harness.pgbouncer import find_pgbouncer, pooling
from tests.harness.postgresql import Cluster
from tests.harness.service import environment
from tests.harness.storage import make_tables
from tests.harness.store import opened, outcomes, poisoned, submission

OPS = "the-ops-token-of-these-tests"
_numbers = count(1)


@pytest.fixture
def pooled_url(cluster: Cluster) -> Iterator[str]:
    """An empty PostgreSQL database behind a pooler."""
    if find_pgbouncer() is None:
        lacking("PgBouncer is not installed (Debian package: pgbouncer)")
    name = f"pooled_{next(_numbers)}"
    cluster.create_database(name)
    with pooling(cluster) as port:
        yield f"postgresql://postgres@127.0.0.1:{port}/{name}"
    cluster.drop_database(name)


def test_every_update_is_applied_while_lists_are_read(service: StartService, pooled_url: str) -> None:
    running = service(pooled_url, ops_tokens=OPS)
    lists = ("trackers", "deliveries", "stats", "quarantine", "trackers?milestone=in_transit")
    posted = []

    def post(number: int) -> None:
        item = ship24.item(
            f"m-{number}", f"t-{number % 20}", [ship24.event(f"e-{number}", f"2025-03-01T10:{number // 60:02}:{number % 60:02}")]
        )
        answer = running.post(ship24.body(item))
        posted.append((answer.status, answer.outcomes() if answer.status == 200 else None))

    def read(number: int) -> int:
        return running.get(f"/ops/api/{lists[number % len(lists)]}", OPS).status

    with ThreadPoolExecutor(6) as threads:
        read_statuses = [threads.submit(read, number) for number in range(100)]
        for _ in threads.map(post, range(200)):
            pass
        assert {status.result() for status in read_statuses} == {200}
    assert {status for status, _ in posted} == {200}
    assert {outcome for _, verdicts in posted for outcome in verdicts or ()} <= {"applied", "stale"}
    assert running.count("messages") == 200
    assert running.count("quarantine") == 0
    assert "storage_unavailable" not in running.logs()


def settings_of(connection: Connection) -> list[str]:
    names = ("jit", "enable_seqscan", "enable_hashjoin", "enable_mergejoin", "synchronous_commit")
    return [str(connection.execute(text(f"SHOW {name}")).scalar_one()) for name in names]


def test_what_the_writer_rests_on_is_set_in_each_transaction_and_in_no_other(cluster: Cluster, pooled_url: str) -> None:
    make_tables(pooled_url)
    database = Database(pooled_url)
    cluster.execute(f'ALTER DATABASE "{database.url.database}" SET synchronous_commit = off')
    transactions = Transactions(database)
    for _ in range(3):
        assert transactions.run(settings_of) == ["off", "off", "off", "off", "on"]
    assert database.durability()["synchronous_commit"] == "on"
    with database.read() as connection:
        assert connection.execute(text("SHOW transaction_read_only")).scalar_one() == "on"
        assert settings_of(connection)[:4] == ["off", "on", "on", "on"]
    transactions.close()
    database.close()


def test_statements_are_prepared_where_the_session_is_our_own_and_only_there(direct_url: str, pooled_url: str) -> None:
    for url, expected in ((direct_url, True), (pooled_url, False)):
        make_tables(url)
        with opened(url) as store:
            for number in range(8):
                assert outcomes(store.keep(ship24.single(f"m-{number}"))[0]) == ["applied"]
            prepared = store.transactions.run(
                lambda connection: connection.execute(text("SELECT count(*) FROM pg_prepared_statements")).scalar_one()
            )
            assert (prepared > 0) is expected


def test_an_error_in_the_middle_of_a_batch_is_blamed_on_its_message_and_the_next_batch_is_stored(pooled_url: str) -> None:
    make_tables(pooled_url)
    with opened(pooled_url) as store:
        for _ in range(3):
            kept = store.keep_submissions(submission(ship24.single()), poisoned(ship24.single()), submission(ship24.single()))
            assert [outcomes(answer)[0] for answer in kept] == ["applied", "quarantined", "applied"]


def test_who_waits_for_changes_behind_a_pooler_gets_one_sign_and_polls(pooled_url: str) -> None:
    make_tables(pooled_url)

    async def listen() -> list[str]:
        signs = Database(pooled_url).changes_made()
        await anext(signs)
        second = asyncio.ensure_future(anext(signs))
        done, _ = await asyncio.wait([second], timeout=0.2)
        second.cancel()
        await asyncio.gather(second, return_exceptions=True)
        return ["second" for _ in done]

    assert asyncio.run(listen()) == []


def test_of_several_that_migrate_at_once_one_does_and_the_others_wait_for_it(
    cluster: Cluster, pooled_url: str, tmp_path: Path
) -> None:
    def migrate(_: int) -> CompletedProcess[str]:
        return run_process("migrate", cwd=tmp_path, env=environment(pooled_url))

    with ThreadPoolExecutor(3) as threads:
        done = list(threads.map(migrate, range(3)))
    assert {(one.returncode, one.stdout) for one in done} == {(0, done[0].stdout)}, done
    locks = cluster.execute("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'")
    assert locks == "0", "no session keeps a lock that the next one would have"


def test_a_long_read_has_its_cursor_in_one_transaction(service: StartService, pooled_url: str, sqlite_url: str) -> None:
    running = service(pooled_url)
    for number in range(20):
        assert running.post(ship24.single(f"m-{number}")).status == 200
    assert running.stop() == 0
    done = run_command("rebuild", "--into", sqlite_url, cwd=running.directory, env=running.env)
    assert done.stdout.rstrip().endswith("has the same content."), done.stdout + done.stderr
