"""Once, under concurrency: parallel copies, several processes, overlapping groups."""

import random
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from tests.conftest import StartService
from tests.harness import ship24
from tests.harness.command import run_command
from tests.harness.load import post_together
from tests.harness.postgresql import Cluster
from tests.harness.rows import Like, read_rows
from tests.harness.service import PATIENT, Reply, Service, serving, wait_until

Pair = tuple[Service, Service]


@pytest.fixture(scope="module")
def two(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    """Two services on a database that sorts as a dictionary does, not by code point.

    Each has an interpreter of its own: with another hash seed, sets have another order.
    """
    url = cluster.create_database("two_services", icu_locale="en-US")
    with ExitStack() as stack:
        one, other = (
            stack.enter_context(serving(tmp_path_factory.mktemp(name), url, ("env",), **PATIENT)) for name in ("one", "other")
        )
        yield one, other
    cluster.drop_database("two_services")


def applied_by_message(answers: list[Reply]) -> Counter[str]:
    applied: Counter[str] = Counter()
    for answer in answers:
        assert answer.status == 200, answer.body
        applied.update(m["message_id"] for m in answer.json()["messages"] if m["outcome"] == "applied")
    return applied


def count_deadlocks(url: str) -> int:
    """End all connections, since a server's counts are only complete without them, and return what it has counted so far."""
    others = "FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
    ended = {row["pid"] for row in read_rows(url, f"SELECT pid, pg_terminate_backend(pid) {others}")}
    wait_until(lambda: not ended & {row["pid"] for row in read_rows(url, f"SELECT pid {others}")}, "the connections end")
    (row,) = read_rows(url, "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()")
    return int(row["deadlocks"])


def make_ids(number: int, kind: str) -> list[str]:
    """Return identities that sort differently by code point and by dictionary."""
    return [f"{random.Random(n).choice('aBcDé_-')}{n % 7}-{kind}-{n}" for n in range(number)]


def overlap(items: list[ship24.Item], shuffle: random.Random) -> list[bytes]:
    """Return groups of twenty in different orders that have each item at least three times."""
    groups: list[bytes] = []
    for _ in range(3):
        shuffled = shuffle.sample(items, len(items))
        groups += [ship24.body(*shuffled[start : start + 20]) for start in range(0, len(items), 20)]
    return [*groups, *(ship24.body(*shuffle.sample(items, 20)) for _ in range(6))]


def test_of_twenty_copies_at_once_exactly_one_applies(service: StartService, database_url: str) -> None:
    running = service(database_url)
    for number in range(5):
        body = ship24.body(ship24.item(f"copy-{number}"), ship24.item(f"other-{number}"))
        answers = post_together([body] * 20, running)
        outcomes = Counter(outcome for answer in answers for outcome in answer.outcomes())
        assert outcomes == {"applied": 2, "duplicate": 38}
    assert running.count("messages") == 10
    assert running.count("sightings", outcome="duplicate") == 190
    assert running.count("deliveries") == 100


def test_of_twenty_copies_at_two_processes_exactly_one_applies(two: Pair) -> None:
    for number in range(10):
        answers = post_together([ship24.single(f"copy-{number}")] * 20, *two)
        assert Counter(outcome for answer in answers for outcome in answer.outcomes()) == {"applied": 1, "duplicate": 19}
    assert two[0].count("messages", message_id=Like("copy-%")) == 10


def test_one_message_for_two_trackers_at_two_processes_is_stored_once(two: Pair) -> None:
    for number in range(10):
        bodies = [ship24.single(f"torn-{number}", tracker_id=f"t-{number}-{place}") for place in range(10)]
        answers = post_together(bodies, *two)
        assert sum(applied_by_message(answers).values()) == 1
    assert two[0].count("messages", message_id=Like("torn-%")) == 10
    torn = Like("t-%")
    assert two[0].count("events", tracker_id=torn) == two[0].count("trackers", tracker_id=torn) == 10


def test_overlapping_groups_of_new_trackers_neither_deadlock_nor_apply_twice(two: Pair) -> None:
    before = count_deadlocks(two[0].database_url)
    shuffle = random.Random(1)
    for part in range(12):
        items = [ship24.item(f"{name}-{part}", f"{name}-{part}") for name in make_ids(120, "new")]
        answers = post_together(overlap(items, shuffle), *two)
        assert applied_by_message(answers) == dict.fromkeys((item["metadata"]["messageId"] for item in items), 1)
    assert two[0].count("trackers", tracker_id=Like("%-new-%")) == 12 * 120
    assert count_deadlocks(two[0].database_url) == before


def test_overlapping_groups_of_known_trackers_neither_deadlock_nor_apply_twice(two: Pair) -> None:
    before = count_deadlocks(two[0].database_url)
    names = make_ids(120, "known")
    post_together([ship24.body(*(ship24.item(f"first-{name}", name) for name in names))], two[0])
    shuffle = random.Random(2)
    for part in range(4):
        events = [ship24.event(occurrence=f"2025-03-0{part + 2}T10:00:00")]
        items = [ship24.item(f"{name}-{part}", name, events) for name in names]
        answers = post_together(overlap(items, shuffle), *two)
        assert applied_by_message(answers) == dict.fromkeys((item["metadata"]["messageId"] for item in items), 1)
    known = Like("%-known-%")
    assert two[0].count("trackers", tracker_id=known) == 120
    assert two[0].count("trackers", tracker_id=known, latest_occurrence="2025-03-05T10:00:00") == 120
    assert count_deadlocks(two[0].database_url) == before


def test_the_newest_event_wins_whichever_process_had_it(two: Pair) -> None:
    times = [f"2025-03-01T{hour:02}:00:00" for hour in range(24)]
    bodies = [ship24.single(tracker_id="raced", events=[ship24.event(occurrence=time)]) for time in times]
    random.Random(3).shuffle(bodies)
    answers = post_together(bodies, *two)
    assert {answer.status for answer in answers} == {200}
    (tracker,) = two[0].table("trackers", tracker_id="raced")
    assert (tracker["latest_occurrence"], tracker["version"] >= 1) == (times[-1], True)
    applied = two[0].count("events", tracker_id="raced", outcome="applied")
    assert 1 <= applied <= 24


def test_a_second_process_on_one_sqlite_file_is_refused_with_the_reason(service: StartService, sqlite_url: str) -> None:
    running = service(sqlite_url)
    second = run_command("serve", cwd=running.directory, env={**running.env, "RECEIVER_PORT": "0"})
    assert second.returncode == 2
    assert "already writes" in second.stderr
    assert str(running.process.pid if running.process else None) in second.stderr
    assert "Traceback" not in second.stderr
    assert running.post(ship24.single()).outcomes() == ["applied"]


def test_the_file_of_a_process_that_was_killed_is_free_again(service: StartService, sqlite_url: str) -> None:
    running = service(sqlite_url)
    running.post(ship24.single("before"))
    running.kill()
    running.restart()
    assert running.post(ship24.single("before")).outcomes() == ["duplicate"]
