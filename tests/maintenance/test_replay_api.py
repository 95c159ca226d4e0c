"""Replay through a running service: audited once, not counted as a delivery, beside live ones, whole or not at all."""

from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from http.client import HTTPException
from itertools import count
from pathlib import Path
from threading import Event, Thread
from urllib.parse import quote

import pytest

from receiver.web.api.schemas.commands import ReplayAnswer
from receiver.web.limits import MAX_BODY_BYTES
from tests.conftest import StartService
from tests.harness import ship24
from tests.harness.database_contents import check_whole, contents, contents_beside_service, differing
from tests.harness.load import together
from tests.harness.service import DEADLINE_SECONDS, Reply, Service, bearer, serving, wait_until

OPS = "the-ops-token-of-these-tests"
FAR_AHEAD = "9999-01-{day:02}T10:00:00"
_numbers = count(1)


@pytest.fixture
def running(service: StartService, sqlite_url: str) -> Service:
    return service(sqlite_url, ops_tokens=f"anna:{OPS}")


def replay(running: Service, delivery_id: str, body: bytes = b'{"force": true}', token: str | None = OPS) -> Reply:
    path = f"/ops/api/deliveries/{quote(delivery_id, safe='')}/replay"
    return running.call("POST", path, body, [("Content-Type", "application/json"), *bearer(token)])


def early(tracker_id: str, days: Sequence[int] = (1,)) -> bytes:
    """Return a body with messages too far in the future, which are applied only if forced."""
    items = [
        ship24.item(f"m-{tracker_id}-{next(_numbers)}", tracker_id, [ship24.event(occurrence=FAR_AHEAD.format(day=day))])
        for day in days
    ]
    return ship24.body(*items)


def posted(running: Service, body: bytes) -> str:
    answer = running.post(body)
    assert answer.status == 200
    return str(answer.json()["delivery_id"])


def test_a_call_is_decided_again_and_put_on_record_once_and_a_dry_run_is_not(running: Service) -> None:
    delivery_id = posted(running, early("t"))
    before = contents_beside_service(running.database_url)
    foretold = replay(running, delivery_id, b'{"force": true, "dry_run": true}')
    assert differing(before, contents_beside_service(running.database_url)) == set()
    done = replay(running, delivery_id)
    assert (foretold.status, done.status) == (200, 200)
    ReplayAnswer.model_validate(done.json(), strict=True)
    assert foretold.json() == {**done.json(), "dry_run": True}
    assert done.json()["items"] == [
        {
            "position": 0,
            "message_id": done.json()["items"][0]["message_id"],
            "before": {"outcome": "quarantined", "reason": "implausible_future"},
            "after": {"outcome": "applied", "reason": None},
        }
    ]
    assert done.json()["trackers"] == [
        {
            "source": "ship24",
            "tracker_id": "t",
            "before": None,
            "after": {
                "status": "Arrived at the sorting centre",
                "status_milestone": "in_transit",
                "latest_occurrence": FAR_AHEAD.format(day=1),
            },
            "warning": "A date in the future blocks all later updates of this tracker until 9999-01-01T10:00:00.",
        }
    ]
    (entry,) = running.get("/ops/api/audit", token=OPS).json()["items"]
    assert (entry["actor"], entry["action"], entry["subject"], entry["detail"]) == ("anna", "replay", delivery_id, "force")


def test_a_forced_event_is_taken_back_and_put_on_record(running: Service) -> None:
    delivery_id = posted(running, early("t"))
    assert replay(running, delivery_id).json()["undo"] is False
    foretold = replay(running, delivery_id, b'{"undo": true, "dry_run": true}')
    done = replay(running, delivery_id, b'{"undo": true}')
    ReplayAnswer.model_validate(done.json(), strict=True)
    assert foretold.json() == {**done.json(), "dry_run": True}
    (moved,) = done.json()["trackers"]
    assert (moved["after"], moved["warning"]) == (dict.fromkeys(moved["before"]), None)
    assert replay(running, delivery_id, b'{"undo": true}').json()["changed"] is False
    entries = running.get("/ops/api/audit", token=OPS).json()["items"]
    assert [(entry["actor"], entry["action"], entry["detail"]) for entry in entries] == [
        ("anna", "replay", "undo"),
        ("anna", "replay", "undo"),
        ("anna", "replay", "force"),
    ]
    assert [item["reason"] for item in running.get("/ops/api/quarantine", token=OPS).json()["items"]] == ["implausible_future"]


def test_it_is_no_call_of_the_source(running: Service) -> None:
    delivery_id = posted(running, early("t"))
    wait_until(lambda: running.table("tallies"), "the call is counted")
    before, metrics = contents(running.database_url), count_messages(running)
    stats = running.get("/ops/api/stats", token=OPS).json()["sources"]["ship24"]
    assert replay(running, delivery_id).json()["changed"] is True
    posted(running, b'{"trackings": []}')
    wait_until(lambda: running.total("tallies", "calls", span_seconds=60) == 2, "the last call is counted")
    after = contents(running.database_url, without={"deliveries.applied", "deliveries.quarantined"})
    assert set(contents(running.database_url)) == set(after)
    for table in ("setup_windows", "sightings"):
        assert after[table] == before[table]
    assert [row for row in after["token_uses"] if row[0] != "ops"] == [row for row in before["token_uses"] if row[0] != "ops"]
    assert running.total("tallies", "received", span_seconds=60) == 1
    assert running.total("tallies", "applied", span_seconds=60) == 0
    assert len(after["deliveries"]) == len(before["deliveries"]) + 1
    assert count_messages(running) == metrics
    assert running.get("/ops/api/stats", token=OPS).json()["sources"]["ship24"]["applied"] == stats["applied"] == 0


def count_messages(running: Service) -> list[str]:
    """Return what the metrics say of messages."""
    lines = running.get("/metrics", token=OPS).body.decode().splitlines()
    return [line for line in lines if line.startswith("receiver_messages") and "_created" not in line]


def test_an_id_that_is_none_is_not_found(running: Service) -> None:
    for name in ("nothing-like-it", "a\0b", "../../x", "%00", "'; DROP TABLE events; --", "\U0001f4e6" * 300, "x" * 5000):
        answer = replay(running, name)
        assert (answer.status, answer.json()["error"]["code"]) == (404, "not_found")


def test_an_order_that_cannot_be_read_changes_nothing(running: Service) -> None:
    delivery_id = posted(running, early("t"))
    for body in (
        b"{",
        b"[]",
        b'{"force": 1}',
        b'{"force": "true"}',
        b'{"force": true, "undo": true}',
        b'{"dry": true}',
        b"null",
        b'"x"',
        b'{"force": null}',
    ):
        answer = replay(running, delivery_id, body)
        assert (answer.status, answer.json()["error"]["code"]) == (422, "unexpected_shape")
    assert replay(running, delivery_id, b" " * (MAX_BODY_BYTES + 1)).status == 413
    assert running.table("audit") == []


def test_nothing_need_be_said_to_replay(running: Service) -> None:
    delivery_id = posted(running, early("t"))
    answer = replay(running, delivery_id, b"").json()
    assert (answer["dry_run"], answer["force"], answer["changed"]) == (False, False, False)


def test_a_call_that_was_not_let_in_is_never_decided(running: Service) -> None:
    assert running.post(ship24.single("smuggled"), token="wrong").status == 401
    delivery_id = running.value("deliveries", "id")
    answer = replay(running, delivery_id)
    assert answer.status == 422
    assert "rejected" in answer.json()["error"]["message"]
    assert running.table("messages") == []


def test_a_call_that_fetched_something_brought_nothing_to_decide(service: StartService, sqlite_url: str) -> None:
    running = service(sqlite_url, ops_tokens=OPS, shiipp_tokens="shiipp-token-of-these-tests")
    assert running.get("/shiipp/customers", token="shiipp-token-of-these-tests").status == 503
    running.call("POST", "/ops/api/customers", b'{"rows": [], "allow_empty": true}', bearer(OPS))
    assert running.get("/shiipp/customers", token="shiipp-token-of-these-tests").status == 200
    for row in running.table("deliveries", "id"):
        assert replay(running, row["id"]).status == 422


def moves_of(running: Service) -> dict[str, list[tuple[int, str]]]:
    """Return the moves of each tracker, in their order, with their times."""
    rows = running.table("events", "tracker_id", "move", "occurrence", outcome="applied", order="tracker_id, move")
    found = defaultdict(list)
    for row in rows:
        found[row["tracker_id"]].append((row["move"], row["occurrence"]))
    return found


def check_forward_only(running: Service) -> None:
    """Check that each tracker's changes are numbered without gaps, each to a later time, and that it has the last event."""
    stand = {row["tracker_id"]: row for row in running.table("trackers", "tracker_id", "moves", "latest_occurrence")}
    for tracker_id, moves in moves_of(running).items():
        assert [move for move, _ in moves] == list(range(1, len(moves) + 1))
        assert [time for _, time in moves] == sorted({time for _, time in moves})
        assert (stand[tracker_id]["moves"], stand[tracker_id]["latest_occurrence"]) == moves[-1]


def test_replays_beside_live_calls_and_each_other_keep_once_and_forward_only(service: StartService, database_url: str) -> None:
    running = service(database_url, ops_tokens=f"anna:{OPS}")
    others = [] if database_url.startswith("sqlite") else [service(database_url, ops_tokens=f"anna:{OPS}")]
    services = [running, *others]
    days = [3, 1, 4, 2, 5]
    bodies = [early(f"t{number % 4}", [days[number % 5], days[(number + 2) % 5]]) for number in range(20)]
    ids = [posted(running, body) for body in bodies]
    live = [
        ship24.body(ship24.item(tracker_id=f"t{number % 4}", events=[ship24.event(occurrence=f"2025-03-{number + 1:02}")]))
        for number in range(20)
    ]
    calls: list[Callable[[], Reply]] = []
    for place, delivery_id in enumerate(ids):
        one, other = services[place % len(services)], services[(place + 1) % len(services)]
        calls += [partial(replay, one, delivery_id), partial(replay, other, delivery_id)]
        calls += [partial(one.post, live[place]), partial(other.post, bodies[place])]
    answers = together(calls)
    assert {answer.status for answer in answers} == {200}
    check_whole(database_url)
    check_forward_only(running)
    applied = [row["message_id"] for row in running.table("events", "message_id")]
    assert len(applied) == len(set(applied)) == 60
    assert running.count("quarantine") == 0
    assert {row["outcome"] for row in running.table("messages", "outcome")} == {"applied", "stale"}
    assert all(moves[-1][1].startswith("9999") for moves in moves_of(running).values())
    assert running.count("audit") == 40


@pytest.fixture
def waiting(running: Service) -> list[str]:
    """Calls of ten messages each, none of them applied."""
    return [posted(running, early(f"w{number}", range(1, 11))) for number in range(60)]


def test_kill_9_in_the_middle_leaves_each_replay_whole_or_undone(running: Service, waiting: list[str]) -> None:
    enough = Event()
    answered: list[str] = []

    def run() -> None:
        for delivery_id in waiting[:40]:  # however late the kill comes, some are left
            with suppress(OSError, HTTPException):
                if replay(running, delivery_id).status == 200:
                    answered.append(delivery_id)
            if len(answered) >= 15:
                enough.set()

    thread = Thread(target=run)
    thread.start()
    assert enough.wait(DEADLINE_SECONDS)
    running.kill()
    thread.join()
    rows = Counter((row["delivery_id"], row["outcome"]) for row in running.table("messages", "delivery_id", "outcome"))
    assert set(rows.values()) == {10}
    assert {outcome for delivery_id, outcome in rows if delivery_id in answered} == {"applied"}
    assert "quarantined" in {outcome for _, outcome in rows}
    done = {delivery_id for delivery_id, outcome in rows if outcome == "applied"}
    assert {row["subject"] for row in running.table("audit", "subject")} == done
    apart = {row["delivery_id"] for row in running.table("quarantine", "delivery_id")}
    assert apart == set(waiting) - done
    check_whole_but_apart(running)
    running.restart()
    assert {replay(running, delivery_id).status for delivery_id in waiting} == {200}
    assert running.table("quarantine") == []
    assert {row["moves"] for row in running.table("trackers", "moves")} == {10}
    check_whole(running.database_url)
    check_forward_only(running)


def check_whole_but_apart(running: Service) -> None:
    """Check that each applied message has its event, and that the counts of deliveries match the rows."""
    applied = running.table("messages", "delivery_id", "message_id", outcome="applied")
    assert {row["message_id"] for row in applied} <= {row["message_id"] for row in running.table("events", "message_id")}
    numbers = Counter(row["delivery_id"] for row in applied)
    assert [row for row in running.table("deliveries", "id", "applied") if row["applied"] != numbers[row["id"]]] == []


def test_an_operator_of_nothing_gets_nothing_and_no_token_is_told(running: Service) -> None:
    delivery_id = posted(running, early("t"))
    for token in (None, "wrong"):
        assert replay(running, delivery_id, token=token).status == 401
    answer = replay(running, delivery_id)
    told = answer.body.decode() + running.logs() + repr(contents(running.database_url))
    assert OPS not in told
    assert "the-token-of-these-tests" not in told


HANDLER = """
import pathlib
from receiver.handlers import on_change

@on_change()
def every(change):
    with pathlib.Path("told").open("a") as file:
        file.write(f"{change.tracker_id} {change.sequence}\\n")
"""


def test_the_users_own_code_is_told_of_what_a_replay_applies(tmp_path: Path, sqlite_url: str) -> None:
    place = tmp_path / "place"
    place.mkdir()
    (place / "told_handlers.py").write_text(HANDLER, encoding="utf-8")
    with serving(place, sqlite_url, handlers="told_handlers", ops_tokens=OPS) as running:
        delivery_id = posted(running, early("t", [1, 2]))
        assert replay(running, delivery_id, b'{"force": true, "dry_run": true}').status == 200
        replay(running, delivery_id)
        replay(running, delivery_id)
        wait_until(lambda: running.count("dispatches") == 0, "the changes are handed on")
        assert (place / "told").read_text().splitlines() == ["t 1", "t 2"]
