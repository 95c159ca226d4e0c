"""Faults around the service: the sender gets 503 and retries, nothing is half-written, and others are not harmed."""

import os
import sqlite3
from base64 import b64encode
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from http.client import HTTPConnection, HTTPException
from pathlib import Path

import pytest

from receiver.storage.database import Database
from tests.conftest import StartService, lacking
from tests.harness import ship24
from tests.harness.database_contents import check_whole
from tests.harness.disk import NoDisk, fill, small_disk
from tests.harness.load import PostingThreads, post_together, until_taken
from tests.harness.postgresql import Cluster
from tests.harness.rows import Like
from tests.harness.service import SHIP24, TOKEN, Reply, Service, bearer, receive, send, wait_until
from tests.harness.storage import hold_up, make_tables, poison
from tests.promises.test_durability import Script, check_kept


def assert_unavailable(answer: Reply, code: str) -> None:
    assert (answer.status, answer.json()["error"]["code"]) == (503, code), answer.body
    assert int(answer.headers["retry-after"]) > 0


def post_in_background(running: Service, threads: ThreadPoolExecutor, *bodies: bytes) -> list[Future[Reply]]:
    """Post, and return once the service has read all of it: it answers later calls after it has seen the earlier ones."""
    connections = [running.connect() for _ in bodies]
    for connection, body in zip(connections, bodies, strict=True):
        send(connection, "POST", SHIP24, body, [("Content-Type", "application/json"), *bearer(TOKEN)])
    for _ in range(5):
        running.get("/healthz")
    return [threads.submit(receive_and_close, connection) for connection in connections]


def receive_and_close(connection: HTTPConnection) -> Reply:
    with closing(connection):
        return receive(connection)


# Content


def test_a_poison_message_is_quarantined_and_harms_no_other(service: StartService, database_url: str) -> None:
    make_tables(database_url)
    poison(database_url, "poisoned")
    running = service(database_url, commit_timeout_seconds="60")
    bad = ship24.body(ship24.item("beside"), ship24.item("poison", "poisoned"))
    with ThreadPoolExecutor(30) as threads, running.held_up():  # so that they meet in one batch
        good = [ship24.single() for _ in range(20)]
        calls = post_in_background(running, threads, *good[:10], bad, *good[10:])
    *answers, poisoned = [call.result() for call in [*calls[:10], *calls[11:], calls[10]]]
    assert [answer.outcomes() for answer in answers] == [["applied"]] * 20
    found = [(message["outcome"], message.get("reason")) for message in poisoned.json()["messages"]]
    assert found == [("applied", None), ("quarantined", "undecidable")]
    delivery_id = poisoned.json()["delivery_id"]
    assert running.value("bodies", "body", delivery_id=delivery_id) == bad
    (apart,) = running.table("quarantine", "reason", "raw", delivery_id=delivery_id)
    assert (apart["reason"], b'"poison"' in apart["raw"]) == ("undecidable", True)
    assert running.count("messages", message_id=("beside", "poison")) == 1
    assert running.post(ship24.single("beside")).outcomes() == ["duplicate"]
    check_whole(database_url, without={"tracker without its latest event"})  # the poison


def test_the_content_of_a_poison_message_is_not_in_the_log(service: StartService, database_url: str) -> None:
    make_tables(database_url)
    poison(database_url, "private-tracker")
    running = service(database_url)
    running.post(ship24.single("poison", tracker_id="private-tracker"))
    assert "delivery_undecidable" in running.logs()
    assert "private-tracker" not in running.logs()


# The database is away


def test_while_postgresql_is_down_deliveries_are_503_and_on_record_afterwards(
    service: StartService, own_cluster: Cluster
) -> None:
    running = service(own_cluster.create_database("faulty"))
    assert running.post(ship24.single("first")).outcomes() == ["applied"]
    own_cluster.stop("immediate")
    failed = [running.post(body) for body in (*(ship24.single(f"during-{number}") for number in range(4)), b"unreadable")]
    for answer in failed:
        assert_unavailable(answer, "storage_unavailable")
    assert running.get("/healthz").status == 200
    assert (running.get("/readyz").status, running.get("/readyz").json()["checks"]["database"]) == (503, {"ok": False})
    own_cluster.start()
    wait_until(lambda: running.get("/readyz").status == 200, "the service is ready again")
    wait_until(lambda: running.count("deliveries") >= 6, "failures on record")
    recorded = running.table("deliveries", "id", "status", "code", outcome="failed")
    expected = {(answer.json()["delivery_id"], 503, "storage_unavailable") for answer in failed}
    assert expected <= {(row["id"], row["status"], row["code"]) for row in recorded}
    assert running.post(ship24.single("first")).outcomes() == ["duplicate"]
    assert running.post(ship24.single("during-0")).outcomes() == ["applied"]


def test_what_was_answered_before_postgresql_crashed_is_there(service: StartService, own_cluster: Cluster) -> None:
    url = own_cluster.create_database("crashing")
    running = service(url)
    script = Script()
    load = PostingThreads(running, script.make)
    for answered in (200, 400):
        wait_until(lambda enough=answered: len(load.answered) >= enough, "calls are answered")  # type: ignore[misc]
        own_cluster.stop("immediate")
        wait_until(lambda: load.refused, "calls fail")
        own_cluster.start()
        wait_until(lambda: running.get("/readyz").status == 200, "the service is ready again")
    load.stop()
    assert {reply.status for reply in load.refused} == {503}
    check_kept(url, load.answered, script)
    check_whole(url)


# The disk is full


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    try:
        with small_disk(tmp_path / "disk", megabytes=8) as disk:
            yield disk
    except NoDisk as reason:
        lacking(str(reason))


def test_on_a_full_disk_deliveries_are_503_and_nothing_is_half_written(service: StartService, disk: Path) -> None:
    url = f"sqlite:///{disk}/receiver.db"
    running = service(url)
    assert running.post(ship24.single("before")).outcomes() == ["applied"]
    filler = fill(disk)
    large = ship24.body(*(ship24.item(f"large-{number}", padding="x" * 1000) for number in range(100)))
    assert_unavailable(running.post(large), "storage_unavailable")
    assert running.get("/readyz").json()["checks"]["disk"] == {"ok": False}
    assert running.get("/healthz").status == 200
    check_whole(url)
    assert running.count("messages", message_id=Like("large-%")) == 0
    filler.unlink()
    wait_until(lambda: running.get("/readyz").status == 200, "the service is ready again")
    assert set(running.post(large).outcomes()) == {"applied"}
    assert running.post(ship24.single("before")).outcomes() == ["duplicate"]
    check_whole(url)


# The process ends


def test_sigterm_answers_what_it_has_and_loses_nothing(service: StartService, postgresql_url: str) -> None:
    running = service(postgresql_url)
    script = Script()
    load = PostingThreads(running, script.make)
    wait_until(lambda: len(load.answered) >= 200, "calls are answered")
    assert running.stop() == 0
    load.stop()
    assert {reply.status for reply in load.refused} <= {503}
    check_kept(postgresql_url, load.answered, script)
    check_whole(postgresql_url)


def test_sigterm_waits_for_deliveries_that_wait_for_their_commit(service: StartService, database_url: str) -> None:
    running = service(database_url, commit_timeout_seconds="60")
    with ThreadPoolExecutor(10) as threads:
        with running.held_up():
            calls = post_in_background(running, threads, *(ship24.single() for _ in range(10)))
            assert running.process
            running.process.terminate()
            wait_until(lambda: is_deaf(running), "the service takes no more calls")
        assert [call.result().outcomes() for call in calls] == [["applied"]] * 10
    assert running.wait() == 0
    assert "Traceback" not in running.logs()


def is_deaf(running: Service) -> bool:
    try:
        running.get("/healthz")
    except (OSError, HTTPException):
        return True
    return False


def test_a_service_whose_writer_died_answers_503_and_ends_for_its_supervisor(service: StartService, database_url: str) -> None:
    running = service(database_url)
    with ThreadPoolExecutor(10) as threads, hold_up(database_url):
        calls = post_in_background(running, threads, *(ship24.single() for _ in range(10)))
        running.writer().kill()
        for call in calls:
            assert_unavailable(call.result(), "storage_unavailable")
    assert running.wait() == 1
    assert "writer_lost" in running.logs()
    running.restart()
    assert running.post(ship24.single()).outcomes() == ["applied"]


# Too much at once


def test_a_full_queue_is_503_busy_and_deliveries_in_it_are_stored(service: StartService, database_url: str) -> None:
    running = service(database_url, queue_deliveries="1", commit_timeout_seconds="60")
    with ThreadPoolExecutor(1) as threads:
        with running.held_up():
            (waiting,) = post_in_background(running, threads, ship24.single("waiting"))
            assert running.get("/readyz").json()["checks"]["queue"] == {"ok": False}
            for answer in post_together([ship24.single(f"too-many-{number}") for number in range(5)], running):
                assert_unavailable(answer, "busy")
        assert waiting.result().outcomes() == ["applied"]
    assert [row["message_id"] for row in running.table("messages", "message_id")] == ["waiting"]
    wait_until(lambda: running.total("tallies", "unrecorded", span_seconds=60, code="busy") == 5, "the refused calls are counted")


def test_a_commit_that_takes_too_long_is_503_and_the_record_says_so(service: StartService, database_url: str) -> None:
    running = service(database_url, commit_timeout_seconds="0.5")
    with running.held_up():
        late = running.post(ship24.single("late"))
        assert_unavailable(late, "storage_unavailable")
        assert running.get("/readyz").json()["checks"]["writer"] == {"ok": False}
    told = {"id": late.json()["delivery_id"], "status": 503, "outcome": "failed", "code": "storage_unavailable"}
    wait_until(lambda: running.count("deliveries", **told) == 1, "the record is corrected")
    assert until_taken(lambda: running.post(ship24.single("late"))).outcomes() == ["duplicate"]
    assert running.get("/readyz").json()["checks"]["writer"] == {"ok": True}


def heavy(number: int) -> bytes:
    """A delivery of 1.5 MB: five of them exceed the bytes that may be under way to the writing process."""
    return ship24.body(*(ship24.item(f"heavy-{number}-{part}", padding="x" * 15_000) for part in range(100)))


def test_deliveries_that_wait_as_bytes_are_all_stored(service: StartService, database_url: str) -> None:
    running = service(database_url, commit_timeout_seconds="60")
    with ThreadPoolExecutor(10) as threads:
        with running.held_up():
            calls = post_in_background(running, threads, *map(heavy, range(10)))
        assert [call.result().json()["applied"] for call in calls] == [100] * 10
    assert running.count("messages") == 1000


def test_the_log_of_a_file_that_somebody_always_reads_does_not_stay_long(service: StartService, sqlite_url: str) -> None:
    running, path = service(sqlite_url), Database(sqlite_url).path
    log = Path(f"{path}-wal")
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, isolation_level=None)) as reader:
        reader.execute("BEGIN")
        assert reader.execute("SELECT count(*) FROM deliveries").fetchone() == (0,)
        number = 0
        while log.stat().st_size < 80 << 20:
            body = ship24.single(padding=b64encode(os.urandom(3_000_000)).decode())  # it cannot be packed
            assert running.post(body).status == 200, "a reader is in nobody's way"
            number += 1
        assert reader.execute("SELECT count(*) FROM deliveries").fetchone() == (0,)
    wait_until(lambda: log.stat().st_size < 1 << 20, "the log is emptied once nobody reads what is older")
    assert running.count("messages") == number


def test_deliveries_that_wait_too_long_are_503_and_on_record_without_their_bodies(
    service: StartService, database_url: str
) -> None:
    running = service(database_url, commit_timeout_seconds="0.5")
    with ThreadPoolExecutor(10) as threads, running.held_up():
        calls = post_in_background(running, threads, *map(heavy, range(10)))
        for call in calls:
            assert_unavailable(call.result(), "storage_unavailable")
    ids = {call.result().json()["delivery_id"] for call in calls}

    def told() -> set[str]:
        return {row["id"] for row in running.table("deliveries", "id", status=503, outcome="failed")}

    wait_until(lambda: told() == ids, "all are on record as they were told")
    bodies = [row["body_bytes"] for row in running.table("deliveries", "body_bytes")]
    assert 0 in bodies
    kept = sum(size > 0 for size in bodies)
    running.stop()
    patient = service(database_url)
    again = [patient.post(heavy(number)).json() for number in range(10)]
    assert sorted((answer["duplicate"], answer["applied"]) for answer in again) == sorted(
        [(100, 0)] * kept + [(0, 100)] * (10 - kept)
    )
