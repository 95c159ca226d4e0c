"""A 2xx means stored: through `kill -9`, and synced before the answer is sent."""

import random
import shutil
from collections.abc import Sequence
from itertools import count
from pathlib import Path

import orjson
import pytest

from tests.conftest import StartService, lacking
from tests.harness import ship24
from tests.harness.database_contents import check_whole
from tests.harness.load import PostingThreads, post_together
from tests.harness.rows import read_rows
from tests.harness.service import Service, wait_until
from tests.harness.system_calls import SYNCS, NoTracing, harmed
from tests.harness.trace import SystemCall, read_trace

_ROUNDS = 5


class Script:
    """Makes new deliveries with one or several messages on few trackers, and remembers every body."""

    def __init__(self) -> None:
        self._numbers = count()
        self.bodies: dict[str, bytes] = {}

    def make(self) -> tuple[bytes, Sequence[str]]:
        number = next(self._numbers)
        names = [f"m-{number}-{place}" for place in range(number % 5 + 1)]
        items = [ship24.item(name, f"t-{number % 40}-{place}", [ship24.event(f"e-{name}")]) for place, name in enumerate(names)]
        body = ship24.body(*items)
        self.bodies |= dict.fromkeys(names, body)
        return body, names


def check_kept(url: str, answered: Sequence[str], script: Script) -> None:
    """Check that all that was answered is there: message, event, delivery, exact bytes and our answer."""
    query = (
        "SELECT m.message_id, e.event_id, d.status, b.* FROM messages m "
        "JOIN events e ON e.source = m.source AND e.message_id = m.message_id "
        "JOIN deliveries d ON d.id = m.delivery_id JOIN bodies b ON b.delivery_id = d.id"
    )
    kept = {row["message_id"]: row for row in read_rows(url, query)}
    assert set(answered) - set(kept) == set()
    for name in answered:
        row = kept[name]
        assert (row["event_id"], row["status"], bytes(row["body"])) == (f"e-{name}", 200, script.bodies[name])
        assert name in {message["message_id"] for message in orjson.loads(row["answer"])["messages"]}


def run_until_killed(service: Service, script: Script, calls: int) -> list[str]:
    """Kill the service after about so many answers, in the middle of others; return the messages that were answered 2xx."""
    load = PostingThreads(service, script.make)
    try:
        wait_until(lambda: len(load.answered) >= calls, f"{calls} messages are answered")
        service.kill()
    finally:
        load.stop()
    assert [reply for reply in load.refused if reply.status != 503] == []
    return load.answered


def test_what_was_answered_survives_kill_9_again_and_again(service: StartService, postgresql_url: str) -> None:
    running = service(postgresql_url)
    script, answered, chance = Script(), list[str](), random.Random(4)
    for _ in range(_ROUNDS):
        answered += run_until_killed(running, script, chance.randint(20, 600))
        check_whole(postgresql_url)
        running.restart()
        check_kept(postgresql_url, answered, script)
        check_whole(postgresql_url)
    assert len(set(answered)) == len(answered)
    assert len(answered) >= _ROUNDS * 20


# Sync before answer


@pytest.fixture
def strace() -> str:
    found = shutil.which("strace")
    if found is None:
        lacking("strace is not installed (Debian package: strace)")
    return str(found)


def start_traced(service: StartService, url: str, strace: str, trace: Path) -> Service:
    traced = "read,recvfrom,recvmsg,write,writev,sendto,sendmsg,pwrite64,pwritev,fsync,fdatasync"
    # -D: the service stays our own child, so that signals reach it and not its observer.
    return service(url, (strace, "-D", "-f", "-y", "-s", "64", "-e", f"trace={traced}", "-e", "signal=none", "-o", str(trace)))


def find_promises(calls: Sequence[SystemCall]) -> list[tuple[int, int]]:
    """Return where each request arrived and where its 200 began to leave, for requests that came one after the other."""
    arrived = [place for place, call in enumerate(calls) if call.is_read and "POST /webhooks/ship24" in call.text]
    left = [place for place, call in enumerate(calls) if call.is_write and "HTTP/1.1 200" in call.text]
    return [(start, next(place for place in left if place > start)) for start in arrived]


def test_on_sqlite_the_wal_is_synced_between_a_delivery_and_its_answer(
    service: StartService, sqlite_url: str, strace: str, tmp_path: Path
) -> None:
    trace = tmp_path / "trace"
    running = start_traced(service, sqlite_url, strace, trace)
    for number in range(6):
        assert running.post(ship24.single(f"traced-{number}")).outcomes() == ["applied"]
    assert running.stop() == 0
    promises = find_promises(calls := read_trace(trace))
    assert len(promises) == 6
    for start, end in promises:
        between = calls[start:end]
        written = [place for place, call in enumerate(between) if call.name.startswith("pwrite") and call.file.endswith("-wal")]
        synced = [place for place, call in enumerate(between) if call.is_sync and call.file.endswith("-wal")]
        assert written, "the call was written to the log before its answer"
        assert synced, "the log was synced before the answer"
        assert max(synced) > max(written), "nothing was written to the log after its last sync"


def test_on_sqlite_many_deliveries_share_a_sync_and_none_is_answered_before_it(
    service: StartService, sqlite_url: str, strace: str, tmp_path: Path
) -> None:
    trace = tmp_path / "trace"
    running = start_traced(service, sqlite_url, strace, trace)
    answers = post_together([ship24.single() for _ in range(24)], running)
    assert {answer.status for answer in answers} == {200}
    assert running.stop() == 0
    calls = read_trace(trace)
    dirty, promised = False, 0
    for call in calls:
        if call.file.endswith("-wal"):
            dirty = call.is_write or (dirty and not call.is_sync)
        promised += call.is_write and '"outcome":"applied"' in call.text
    assert not dirty
    assert len(find_promises(calls)) == 24


def test_on_sqlite_after_a_sync_that_failed_all_is_written_again_before_the_next_answer(
    service: StartService, sqlite_url: str, tmp_path: Path
) -> None:
    running = service(sqlite_url)
    assert running.post(ship24.single()).outcomes() == ["applied"]
    trace = tmp_path / "trace"
    try:
        with harmed(running.writer().pid, SYNCS, "error=EIO:when=1", trace, also="pwrite64,sendto"):
            wait_until(lambda: running.post(ship24.single("unsure")) and "EIO" in trace.read_text("latin-1"), "a sync fails")
            wait_until(lambda: running.post(ship24.single("unsure")).status == 200, "calls are kept again")
    except NoTracing as reason:
        lacking(str(reason))
    calls = read_trace(trace)
    failed = next(place for place, call in enumerate(calls) if call.file.endswith("-wal") and "EIO" in call.text)
    rewritten = next(place for place, call in enumerate(calls) if call.is_sync and call.file.endswith(".db") and place > failed)
    answered = next(
        place for place, call in enumerate(calls) if "delivery_id" in call.text and "unsure" in call.text and place > failed
    )
    assert failed < rewritten < answered
