"""`receiver reconcile ship24` against a vendor that knows more, as an operator runs it."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import StartService
from tests.harness.command import run_command
from tests.harness.database_contents import contents, differing
from tests.harness.rows import table_rows
from tests.harness.service import environment
from tests.harness.ship24 import Item, body, event, item
from tests.harness.ship24_api import KEY, WEBHOOK_URL, FakeShip24, VendorTracker, fake_ship24, say, say_text
from tests.harness.storage import make_tables, poison
from tests.harness.store import opened

OPS = "the-ops-token-of-these-tests"


@pytest.fixture
def vendor() -> Iterator[FakeShip24]:
    with fake_ship24() as running:
        yield running


@pytest.fixture
def url(sqlite_url: str) -> str:
    make_tables(sqlite_url)
    return sqlite_url


def settings_of(vendor: FakeShip24) -> dict[str, str]:
    return {"ship24_api_key": KEY, "ship24_api_url": vendor.url}


def run(url: str, vendor: FakeShip24, *arguments: str, code: int = 0, **given: str) -> Any:
    """Run the command without a service; return its report."""
    env = environment(url, **(settings_of(vendor) | given))
    return run_in(Path(url.partition(":///")[2]).parent, env, *arguments, code=code)


def run_in(folder: Path, env: Mapping[str, str], *arguments: str, code: int = 0) -> Any:
    done = run_command("reconcile", "ship24", *arguments, "--json", cwd=folder, env=env)
    assert done.returncode == code, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    assert KEY not in done.stdout + done.stderr
    return json.loads(done.stdout) if done.stdout else done.stderr


def deliver(url: str, *items: Item) -> None:
    """Let messages arrive."""
    with opened(url) as store:
        store.keep(body(*items))


def travel(name: str, count: int = 3) -> list[Item]:
    """Return messages of one tracker, with one event each."""
    return [
        item(f"{name}-{number}", name, [event(f"{name}-event-{number}", f"2025-05-0{number}T10:00:00")])
        for number in range(1, count + 1)
    ]


def state_of(url: str, tracker_id: str) -> str | None:
    """Return the id of the latest event of a tracker."""
    (row,) = table_rows(url, "trackers", "latest_event_id", tracker_id=tracker_id)
    found: str | None = row["latest_event_id"]
    return found


def events_of(url: str, tracker_id: str) -> list[str]:
    return [row["event_id"] for row in table_rows(url, "events", "event_id", order="event_id", tracker_id=tracker_id)]


def numbers(report: Any, *names: str) -> list[int]:
    return [found["number"] if isinstance(found := report[name], dict) else found for name in names]


def test_only_what_is_missing_is_brought_in_and_a_second_run_finds_nothing(url: str, vendor: FakeShip24) -> None:
    whole, gap = vendor.add("whole"), vendor.add("gap")
    for message in travel("whole"):
        deliver(url, whole.send(message, "success"))
    first, lost, last = (gap.send(message) for message in travel("gap"))
    deliver(url, first, last)
    before = contents(url)
    report = run(url, vendor, "--all", "--dry-run")
    assert differing(before, contents(url)) <= {"audit", "reconciliations"}
    assert numbers(report, "examined", "complete", "repaired", "messages", "events") == [2, 1, 1, 1, 1]
    report = run(url, vendor, "--all")
    assert numbers(report, "examined", "complete", "repaired", "messages", "events", "built_events") == [2, 1, 1, 1, 1, 0]
    assert report["repaired"]["examples"] == ["gap"]
    assert events_of(url, "gap") == ["gap-event-1", "gap-event-2", "gap-event-3"]
    assert state_of(url, "gap") == "gap-event-3", "what is older does not become the state"
    (delivery,) = table_rows(url, "deliveries", "origin", "note", "token", "client", origin="reconcile")
    assert (delivery["token"], delivery["client"]) == (None, None)
    assert "webhook history" in delivery["note"]
    assert vendor.asked("history") == ["GET /trackers/gap/webhook-history/download"] * 2, "only where something is missing"
    again = run(url, vendor, "--all")
    assert numbers(again, "examined", "complete", "repaired") == [2, 2, 0]
    deliver(url, lost)  # the vendor sends it at last
    assert len(table_rows(url, "events", tracker_id="gap")) == 3


def test_a_tracker_that_never_came_is_brought_in(url: str, vendor: FakeShip24) -> None:
    new = vendor.add("new")
    for message in travel("new"):
        new.send(message)
    vendor.add("silent", is_subscribed=False).send(travel("silent", 1)[0])
    report = run(url, vendor, "--all")
    assert numbers(report, "examined", "repaired", "messages") == [1, 1, 3]
    assert state_of(url, "new") == "new-event-3"
    assert vendor.asked("silent") == [], "the vendor sends nothing for it"


def test_an_event_without_a_message_is_built_and_the_true_message_is_a_duplicate(url: str, vendor: FakeShip24) -> None:
    tracker = vendor.add("gap", has_history=False)
    first, lost = (tracker.send(message) for message in travel("gap", 2))
    deliver(url, first)
    report = run(url, vendor, "--tracker", "gap")
    assert numbers(report, "repaired", "built_events", "without_history") == [1, 1, 1]
    assert state_of(url, "gap") == "gap-event-2"
    assert len(table_rows(url, "messages", message_id="results:gap:gap-event-2")) == 1
    deliver(url, lost)
    (message,) = table_rows(url, "messages", "outcome", message_id="gap-2")
    assert message["outcome"] == "duplicate"
    assert numbers(run(url, vendor, "--tracker", "gap"), "complete") == [1]


def test_a_history_without_ids_is_completed(url: str, vendor: FakeShip24) -> None:
    tracker = vendor.add("gap", leaves_out_ids=True)
    first, _lost = (tracker.send(message) for message in travel("gap", 2))
    deliver(url, first)
    assert numbers(run(url, vendor, "--tracker", "gap"), "repaired", "messages", "built_events") == [1, 1, 0]
    assert events_of(url, "gap") == ["gap-event-1", "gap-event-2"]
    assert numbers(run(url, vendor, "--tracker", "gap"), "complete") == [1]


def test_messages_that_somebody_else_answered_are_named_with_the_url(url: str, vendor: FakeShip24) -> None:
    tracker = vendor.add("gap")
    first, _lost = (tracker.send(message, "success") for message in travel("gap", 2))
    deliver(url, first)
    report = run(url, vendor, "--tracker", "gap")
    assert (report["delivered_elsewhere"], report["urls"]) == (1, [WEBHOOK_URL])


def test_the_other_messages_of_a_group_come_too(url: str, vendor: FakeShip24) -> None:
    tracker = vendor.add("gap")
    mine, other = travel("gap", 1)[0], travel("other", 1)[0]
    tracker.send(mine)
    proof = item(
        "proof", "gap", metadata={"messageId": "proof", "topic": "tracking/pod", "generatedAt": None}, data={"status": "found"}
    )
    del proof["events"]
    tracker.messages.append((proof, "failed"))
    history = tracker.history()
    history["webhooks"][-1]["requestBody"]["trackings"].append(other)
    vendor.odd.append(("history", say(200, history)))
    run(url, vendor, "--all")
    outcomes = {row["message_id"]: row["outcome"] for row in table_rows(url, "messages", "message_id", "outcome")}
    assert outcomes == {"gap-1": "applied", "other-1": "applied", "proof": "recorded"}


def test_what_only_we_have_is_told(url: str, vendor: FakeShip24) -> None:
    messages = travel("old", 2)
    deliver(url, *messages)
    vendor.add("old").send(messages[1])
    deliver(url, travel("gone", 1)[0])
    report = run(url, vendor, "--all")
    assert (report["only_here"]["examples"], report["unknown"]["examples"]) == (["old"], ["gone"])


def test_a_window_leaves_out_what_ended_before_it(url: str, vendor: FakeShip24) -> None:
    delivered = item("d", "delivered", [event("d", "2025-01-01T10:00:00", statusMilestone="delivered")])
    for message in (delivered, *travel("moving", 1)):
        deliver(url, vendor.add(message["tracker"]["trackerId"]).send(message))
    vendor.add("created-before", created_at="2025-01-01T00:00:00Z").send(travel("created-before", 1)[0])
    vendor.add("created-in", created_at="2025-07-02T00:00:00Z").send(travel("created-in", 1)[0])
    report = run(url, vendor, "--since", "2025-07-01T00:00:00Z", "--until", "2025-07-03T00:00:00Z")
    assert sorted({call.split("/")[2] for call in vendor.asked("results")}) == ["created-in", "moving"]
    assert numbers(report, "examined", "repaired") == [2, 1]


def test_an_earlier_event_of_a_parcel_that_had_just_arrived_is_found_too(url: str, vendor: FakeShip24) -> None:
    tracker = vendor.add("arrived")
    delivered = item("d", "arrived", [event("d", "2025-06-01T10:00:00", statusMilestone="delivered")])
    deliver(url, tracker.send(delivered))
    tracker.send(item("late", "arrived", [event("late", "2025-06-01T09:00:00")]))
    report = run(url, vendor, "--since", "2025-06-02T00:00:00Z", "--until", "2025-06-03T00:00:00Z")
    assert numbers(report, "examined", "repaired") == [1, 1]


def test_an_erased_tracker_stays_erased(url: str, vendor: FakeShip24, tmp_path: Path) -> None:
    tracker = vendor.add("person")
    first, _lost = (tracker.send(message) for message in travel("person", 2))
    deliver(url, first)
    done = run_command("forget", "--tracker", "person", "--yes", cwd=tmp_path, env=environment(url))
    assert done.returncode == 0, done.stderr
    assert numbers(run(url, vendor, "--all"), "examined") == [0]
    assert events_of(url, "person") == ["person-event-1"]
    history = tracker.history()
    history["webhooks"][0]["requestBody"]["trackings"].append(travel("other", 1)[0])
    file = tmp_path / "history.json"
    file.write_text(json.dumps(history))
    run_in(tmp_path, environment(url), "--file", str(file))
    assert events_of(url, "person") == ["person-event-1"], "from a file neither"
    assert events_of(url, "other") == ["other-event-1"]


def test_resend_lets_the_vendor_send_and_brings_nothing_in(url: str, vendor: FakeShip24) -> None:
    tracker = vendor.add("gap")
    first, _lost = (tracker.send(message) for message in travel("gap", 2))
    deliver(url, first)
    assert numbers(run(url, vendor, "--tracker", "gap", "--resend", "--dry-run"), "resent") == [1]
    assert vendor.asked("resend") == []
    report = run(url, vendor, "--tracker", "gap", "--resend")
    assert numbers(report, "resent", "messages", "repaired") == [1, 2, 0]
    assert vendor.asked("resend") == ["POST /trackers/gap/webhook-events/resend"]
    assert events_of(url, "gap") == ["gap-event-1"]


# Files


def test_downloaded_histories_need_no_key(url: str, vendor: FakeShip24, tmp_path: Path) -> None:
    tracker = vendor.add("gap")
    first, _lost = (tracker.send(message, "success") for message in travel("gap", 2))
    deliver(url, first)
    file = tmp_path / "webhook-history-TN-gap-20260103.json"
    file.write_text(json.dumps(tracker.history()), encoding="utf-8-sig")  # as editors save it
    for expected in ([1, 1, 1], [0, 0, 0]):
        report = run_in(tmp_path, environment(url), "--file", str(file))
        assert numbers(report, "repaired", "messages", "delivered_elsewhere") == expected
    assert state_of(url, "gap") == "gap-event-2"
    assert vendor.calls == []


def test_messages_of_a_history_that_cannot_be_read_are_reported(url: str, tmp_path: Path) -> None:
    tracker = VendorTracker("gap")
    tracker.send(travel("gap", 1)[0])
    history, file = tracker.history(), tmp_path / "history.json"
    (webhook,) = history["webhooks"]
    nested = json.loads("[" * 300 + "]" * 300)
    deep = {**webhook, "requestBody": {"trackings": [{"metadata": {"messageId": "deep"}, "events": nested}]}}
    file.write_text(json.dumps({**history, "webhooks": [deep]}))
    report = run_in(tmp_path, environment(url), "--file", str(file), code=1)
    assert numbers(report, "failed", "complete", "repaired") == [1, 0, 0]
    file.write_text(json.dumps({**history, "webhooks": [deep, webhook]}))
    report = run_in(tmp_path, environment(url), "--file", str(file), code=1)
    assert numbers(report, "failed", "complete", "repaired") == [1, 0, 1]


def test_a_file_that_is_no_history_is_named(url: str, tmp_path: Path) -> None:
    file = tmp_path / "history.json"
    for content in (b"{}", b"[1]", b"not JSON", b"\xff"):
        file.write_bytes(content)
        assert "xpected a webhook history of Ship24" in run_in(tmp_path, environment(url), "--file", str(file), code=1)


# A vendor that fails


def test_a_key_that_is_refused_ends_the_run_in_one_line(url: str, vendor: FakeShip24) -> None:
    deliver(url, *(vendor.add(name).send(travel(name, 1)[0]) for name in ("one", "two")))
    done = run_command(
        "reconcile", "ship24", "--all", cwd=Path("/"), env=environment(url, ship24_api_key="another", ship24_api_url=vendor.url)
    )
    assert done.returncode == 1
    assert "Ship24 answered 401 auth_invalid_api_key. Check RECEIVER_SHIP24_API_KEY" in done.stderr
    assert [line for line in done.stderr.splitlines() if not line.startswith(("{", "receiver: "))] == []
    assert len(vendor.calls) == 1


def test_without_a_key_the_way_without_one_is_named(url: str, tmp_path: Path) -> None:
    said = run_in(tmp_path, environment(url), "--all", code=2)
    assert "RECEIVER_SHIP24_API_KEY" in said
    assert "--file" in said


def test_a_broken_tracker_holds_up_no_other(url: str, vendor: FakeShip24) -> None:
    for name in ("a", "b", "c"):
        vendor.add(name).send(travel(name, 1)[0])
        deliver(url, travel(name, 1)[0])
    vendor.odd += [("/b/results", say(200, {"data": None}))]
    report = run(url, vendor, "--all", code=1)
    assert (report["failed"]["examples"], report["complete"]) == (["b"], 2)


def test_a_tracker_that_our_code_fails_on_holds_up_no_other(url: str, vendor: FakeShip24) -> None:
    poison(url, "b")
    for name in ("a", "b", "c"):
        vendor.add(name).send(travel(name, 1)[0])
    run(url, vendor, "--all")
    assert (state_of(url, "a"), state_of(url, "c")) == ("a-event-1", "c-event-1")
    assert {row["reason"] for row in table_rows(url, "quarantine", "reason")} == {"undecidable"}


def test_five_broken_trackers_in_a_row_stop_the_run_and_more_apart_do_not(url: str, vendor: FakeShip24) -> None:
    names = [f"t{number}" for number in range(10)]
    deliver(url, *(vendor.add(name).send(travel(name, 1)[0]) for name in names))
    broken = say(200, {"data": None})
    vendor.odd += [(f"/{name}/results", broken) for name in names if name != "t4"]
    stopped = run(url, vendor, "--all", code=1)
    assert (numbers(stopped, "failed", "complete"), stopped["finished"]) == ([8, 1], False)
    report = run(url, vendor, "--all", code=1)
    assert (numbers(report, "failed", "complete"), report["finished"]) == ([8, 2], True), "the last one is asked for again"


def test_what_is_limited_or_broken_for_a_moment_is_asked_again(url: str, vendor: FakeShip24) -> None:
    deliver(url, vendor.add("one").send(travel("one", 1)[0]))
    vendor.odd += [
        ("results", say_text(429, "Too many requests", **{"Retry-After": "0"})),
        ("results", say_text(429, "Too many requests", **{"Retry-After": "Thu, 01 Jan 2026 00:00:00 GMT"})),
        ("results", say_text(503, "<html>", **{"Retry-After": "0"})),
    ]
    assert numbers(run(url, vendor, "--tracker", "one"), "complete") == [1]
    assert len(vendor.calls) == 4


def nested(depth: int) -> Any:
    return json.loads("[" * depth + "]" * depth)


def test_answers_of_odd_shapes_fail_for_their_tracker_alone(url: str, vendor: FakeShip24) -> None:
    good = vendor.add("good").send(travel("good", 1)[0])
    odd: list[Any] = [
        None,
        [],
        {"data": {"trackings": [{"tracker": [1], "events": []}]}},
        {"data": {"trackings": [{"tracker": {"trackerId": "good"}, "events": []}]}},
        {"data": {"trackings": [{"tracker": {"trackerId": "odd"}, "events": [nested(300)]}]}},
    ]
    deliver(url, travel("odd", 1)[0])
    for answer in odd:
        vendor.odd.append(("/odd/results", say(200, answer)))
        report = run(url, vendor, "--tracker", "odd", code=1)
        assert numbers(report, "failed", "messages") == [1, 0], answer
    deep = vendor.add("deep", has_history=False)
    deep.send(travel("deep", 1)[0])
    results = deep.results()
    results["data"]["trackings"][0]["shipment"] = nested(300)
    vendor.odd.append(("/deep/results", say(200, results)))
    report = run(url, vendor, "--tracker", "deep", code=1)
    assert numbers(report, "failed", "repaired", "messages", "events") == [1, 0, 0, 0]
    history = vendor.trackers["good"].history()
    history["webhooks"] += [1, None, {"requestBody": [1]}, {"requestBody": {"trackings": [3, {"events": nested(300)}]}}]
    vendor.odd.append(("/good/webhook-history", say(200, history)))
    assert numbers(run(url, vendor, "--tracker", "good"), "repaired", "messages") == [1, 1]
    assert state_of(url, "good") == good["events"][0]["eventId"]


def test_ids_in_the_list_that_cannot_be_asked_for_are_left_out(url: str, vendor: FakeShip24) -> None:
    listed = [{"trackerId": odd} for odd in (5, None, "", " x", "a\0b", "long" * 100, ["x"])]
    vendor.odd.append(("/trackers?", say(200, {"data": {"trackers": [*listed, 7, None]}})))
    assert numbers(run(url, vendor, "--all"), "examined") == [0]
    assert vendor.asked("results") == []


def test_messages_that_came_with_others_of_their_group_are_counted_alone(url: str, vendor: FakeShip24) -> None:
    tracker = vendor.add("gap")
    first, lost = (tracker.send(message) for message in travel("gap", 2))
    deliver(url, first)
    history = tracker.history()
    history["webhooks"] = [{"status": "failed", "requestBody": {"trackings": [first, lost]}}]
    vendor.odd.append(("history", say(200, history)))
    assert numbers(run(url, vendor, "--tracker", "gap"), "messages", "events") == [1, 1]


# Runs that were stopped


def test_a_run_that_was_stopped_continues_and_asks_nothing_twice(url: str, vendor: FakeShip24) -> None:
    for number in range(6):
        message = travel(f"t{number}", 1)[0]
        deliver(url, vendor.add(f"t{number}").send(message))
    vendor.odd += [("/t3/results", say(401, {"errors": [{"code": "auth_invalid_api_key"}], "data": None}))]
    stopped = run(url, vendor, "--all", code=1)
    assert (stopped["examined"], stopped["complete"], stopped["finished"]) == (3, 3, False)
    report = run(url, vendor, "--all")
    assert numbers(report, "examined", "complete") == [6, 6]
    assert report["finished"] is True
    asked = vendor.asked("results")
    assert [asked.count(f"GET /trackers/t{number}/results") for number in range(6)] == [1, 1, 1, 2, 1, 1]
    assert len(table_rows(url, "reconciliations")) == 1
    run(url, vendor, "--all")
    assert len(table_rows(url, "reconciliations")) == 2


def test_a_list_of_several_pages_is_read_to_its_end(url: str, vendor: FakeShip24) -> None:
    known = []
    for number in range(501):
        name = f"t{number:03}"
        vendor.add(name, created_at=f"2026-01-01T00:{number // 60:02}:{number % 60:02}Z")
        if number not in {7, 500}:
            known.append(vendor.trackers[name].send(item(f"m{number}", name)))
    deliver(url, *known)
    vendor.trackers["t500"].send(travel("t500", 1)[0])
    run(url, vendor, "--since", "2026-01-01T00:00:00Z", "--until", "2026-01-01T00:00:01Z")  # all of ours are older and move on
    pages = vendor.asked("/trackers?")
    assert [page.split("&")[0] for page in pages] == ["GET /trackers?page=1", "GET /trackers?page=2"]


# Beside a running service


def test_a_running_service_does_it_and_its_targets_hear_of_it(
    service: StartService, url: str, vendor: FakeShip24, tmp_path: Path
) -> None:
    tracker = vendor.add("gap")
    first, _lost = (tracker.send(message) for message in travel("gap", 2))
    deliver(url, first)
    running = service(url, ops_tokens=OPS, **settings_of(vendor))
    assert numbers(run_in(tmp_path, running.env, "--all"), "examined", "repaired") == [1, 1]
    assert state_of(url, "gap") == "gap-event-2"
    file, other = tmp_path / "history.json", tmp_path / "other.json"
    tracker.send(travel("gap", 3)[2])
    file.write_text(json.dumps({**tracker.history(), "padding": "x" * 100_000}))
    second = VendorTracker("second")
    second.send(travel("second", 1)[0])
    other.write_text(json.dumps(second.history()))
    report = run_in(tmp_path, running.env, "--file", str(file), "--file", str(other))
    assert numbers(report, "examined", "repaired", "messages") == [2, 2, 2]
    vendor.trackers["second"] = second
    assert numbers(run_in(tmp_path, running.env, "--all"), "examined", "complete") == [2, 2]
    actions = [row["action"] for row in table_rows(url, "audit", "action", order="id")]
    assert actions.count("reconcile") == 2
    assert OPS not in running.logs()
    assert KEY not in running.logs()


def test_a_service_without_a_key_says_so(service: StartService, url: str, tmp_path: Path) -> None:
    running = service(url, ops_tokens=OPS)
    assert "Set RECEIVER_SHIP24_API_KEY for the service" in run_in(tmp_path, running.env, "--all", code=1)


def test_a_run_of_the_service_that_stops_early_is_one_line(service: StartService, url: str, vendor: FakeShip24) -> None:
    running = service(url, ops_tokens=OPS, ship24_api_key="another", ship24_api_url=vendor.url)
    done = run_command("reconcile", "ship24", "--all", cwd=running.directory, env=running.env)
    assert done.returncode == 1
    assert [line for line in done.stderr.splitlines() if not line.startswith("receiver: Ship24 answered 401")] == []
    assert "The same command continues after 0 trackers." in done.stderr


def test_a_service_that_is_killed_meanwhile_is_one_line(service: StartService, url: str, vendor: FakeShip24) -> None:
    deliver(url, vendor.add("whole").send(travel("whole")[0], "success"))
    running = service(url, ops_tokens=OPS, ship24_api_key=KEY, ship24_api_url=vendor.url)
    vendor.before_reply = lambda _call: running.kill()
    done = run_command("reconcile", "ship24", "--all", cwd=running.directory, env=running.env)
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith("receiver: The service that did this was stopped, or hangs.")
