"""Once, under concurrency: parallel copies, several processes, overlapping groups."""

import random
from collections import Counter

import pytest

from tests.conftest import StartService
from tests.harness import ship24
from tests.harness.command import run_command
from tests.harness.load import post_together
from tests.harness.service import Reply, Service


def both(service: StartService, url: str) -> tuple[Service, Service]:
    """Start two services, each in an interpreter of its own: with another hash seed, sets have another order."""
    return service(url, prefix=("env",)), service(url, prefix=("env",))


def applied_by_message(answers: list[Reply]) -> Counter[str]:
    applied: Counter[str] = Counter()
    for answer in answers:
        assert answer.status == 200, answer.body
        applied.update(m["message_id"] for m in answer.json()["messages"] if m["outcome"] == "applied")
    return applied


def count_deadlocks(*services: Service) -> int:
    """Stop the services, since a server's counts are only complete when its clients are gone, and return what it counted."""
    for service in services:
        assert service.stop() == 0
    return int(services[0].scalar("SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"))


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


def test_of_twenty_copies_at_two_processes_exactly_one_applies(service: StartService, postgresql_url: str) -> None:
    two = both(service, postgresql_url)
    for number in range(10):
        answers = post_together([ship24.single(f"copy-{number}")] * 20, *two)
        assert Counter(outcome for answer in answers for outcome in answer.outcomes()) == {"applied": 1, "duplicate": 19}
    assert two[0].scalar("SELECT count(*) FROM messages") == 10


def test_one_message_for_two_trackers_at_two_processes_is_stored_once(service: StartService, postgresql_url: str) -> None:
    two = both(service, postgresql_url)
    for number in range(10):
        bodies = [ship24.single(f"torn-{number}", tracker_id=f"t-{number}-{place}") for place in range(10)]
        answers = post_together(bodies, *two)
        assert sum(applied_by_message(answers).values()) == 1
    assert two[0].scalar("SELECT count(*) FROM messages") == 10
    assert two[0].scalar("SELECT count(*) FROM events") == two[0].scalar("SELECT count(*) FROM trackers") == 10


@pytest.mark.parametrize("sorting", ["postgresql_url", "lexical_url"])
def test_overlapping_groups_of_new_trackers_neither_deadlock_nor_apply_twice(
    service: StartService, request: pytest.FixtureRequest, sorting: str
) -> None:
    url = request.getfixturevalue(sorting)
    two = both(service, url)
    shuffle = random.Random(1)
    for part in range(12):
        items = [ship24.item(f"{name}-{part}", f"{name}-{part}") for name in make_ids(120, "new")]
        answers = post_together(overlap(items, shuffle), *two)
        assert applied_by_message(answers) == dict.fromkeys((item["metadata"]["messageId"] for item in items), 1)
    assert two[0].scalar("SELECT count(*) FROM trackers") == 12 * 120
    assert count_deadlocks(*two) == 0


@pytest.mark.parametrize("sorting", ["postgresql_url", "lexical_url"])
def test_overlapping_groups_of_known_trackers_neither_deadlock_nor_apply_twice(
    service: StartService, request: pytest.FixtureRequest, sorting: str
) -> None:
    url = request.getfixturevalue(sorting)
    two = both(service, url)
    names = make_ids(120, "known")
    post_together([ship24.body(*(ship24.item(f"first-{name}", name) for name in names))], two[0])
    shuffle = random.Random(2)
    for part in range(4):
        events = [ship24.event(occurrence=f"2025-03-0{part + 2}T10:00:00")]
        items = [ship24.item(f"{name}-{part}", name, events) for name in names]
        answers = post_together(overlap(items, shuffle), *two)
        assert applied_by_message(answers) == dict.fromkeys((item["metadata"]["messageId"] for item in items), 1)
    assert two[0].scalar("SELECT count(*) FROM trackers") == 120
    assert two[0].scalar("SELECT count(*) FROM trackers WHERE latest_occurrence = '2025-03-05T10:00:00'") == 120
    assert count_deadlocks(*two) == 0


def test_the_newest_event_wins_whichever_process_had_it(service: StartService, postgresql_url: str) -> None:
    two = both(service, postgresql_url)
    times = [f"2025-03-01T{hour:02}:00:00" for hour in range(24)]
    bodies = [ship24.single(tracker_id="raced", events=[ship24.event(occurrence=time)]) for time in times]
    random.Random(3).shuffle(bodies)
    answers = post_together(bodies, *two)
    assert {answer.status for answer in answers} == {200}
    assert two[0].scalar("SELECT latest_occurrence FROM trackers") == times[-1]
    applied = two[0].scalar("SELECT count(*) FROM events WHERE outcome = 'applied'")
    assert two[0].scalar("SELECT version FROM trackers") >= 1
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
