"""The sender's own view of a shipment: an operator sees where it differs from the newest event."""

import json
from pathlib import Path
from typing import Any

import pytest

from receiver.web.console.links import to_tracker
from tests.conftest import StartService
from tests.harness import ship24
from tests.harness.command import run_command
from tests.harness.console_client import ConsoleClient
from tests.harness.service import Service

OPS = "the-ops-token-of-these-tests"
PAYLOADS = Path(__file__).parents[1] / "payloads/ship24"
CASES = {"early1": "delivered-stamped-before-out-for-delivery", "tie1": "date-only-twice-no-order"}


@pytest.fixture
def running(service: StartService, sqlite_url: str) -> Service:
    """A service that knows both field cases, an unnamed view, one that agrees, and an event that was corrected."""
    started = service(sqlite_url, ops_tokens=OPS)
    for case in CASES.values():
        replies = [started.post((PAYLOADS / f"{case}-{part}.json").read_bytes()) for part in ("first", "second")]
        assert [reply.outcomes() for reply in replies] == [["applied"], ["stale"]]
    for name, own in (("silent", None), ("agrees", "delivered")):
        event = ship24.event(statusMilestone="delivered")
        item = ship24.item(tracker_id=name, events=[event], shipment={"statusMilestone": own})
        assert started.post(ship24.body(item)).outcomes() == ["applied"]
    for number, status in ((1, "Out for deliver"), (2, "Out for delivery")):
        event = ship24.event("corrected-event", status=status, statusMilestone="out_for_delivery")
        at, view = f"2025-03-02T00:00:0{number}.000Z", {"statusMilestone": "out_for_delivery"}
        item = ship24.item(f"version-{number}", "corrected", [event], at, shipment=view)
        assert started.post(ship24.body(item)).outcomes() == ["applied"]
    return started


def ask(running: Service, path: str) -> Any:
    answer = running.get(f"/ops/api/{path}", OPS)
    assert answer.status == 200, answer.body
    return answer.json()


def run(running: Service, *arguments: str) -> str:
    done = run_command(*arguments, cwd=running.directory, env={**running.env, "COLUMNS": "200"})
    assert done.returncode == 0, done.stderr
    return done.stdout


def found(running: Service, query: str) -> list[str]:
    return sorted(item["tracker_id"] for item in ask(running, f"trackers?{query}")["items"])


def test_trackers_of_which_the_senders_view_differs_are_listed(running: Service) -> None:
    rest = ["agrees", "corrected", "silent"]
    expected = {
        "milestone_differs=true": ["early1", "tie1"],
        "milestone_differs=false": rest,
        "milestone_differs=true&milestone=delivered": [],
        "milestone_differs=true&source=shiipp": [],
        "milestone_differs=true&q=fieldt": ["tie1"],
        "milestone_differs=false&q=fieldt": [],
        "milestone_differs=false&q=silent": ["silent"],
    }
    assert {query: found(running, query) for query in expected} == expected
    assert running.get("/ops/api/trackers?milestone_differs=perhaps", OPS).status == 422


def test_a_list_of_those_that_differ_is_read_in_pages(running: Service) -> None:
    first = ask(running, "trackers?milestone_differs=true&limit=1")
    second = ask(running, f"trackers?milestone_differs=true&limit=1&cursor={first['next']}")
    assert [item["tracker_id"] for page in (first, second) for item in page["items"]] == ["tie1", "early1"]
    assert second["next"] is None


def test_both_views_are_in_the_list_and_on_the_tracker(running: Service) -> None:
    views = ("status_milestone", "shipment_milestone", "milestone_differs")
    listed = {item["tracker_id"]: [item[name] for name in views] for item in ask(running, "trackers")["items"]}
    assert listed["silent"] == ["delivered", None, False]
    assert listed["agrees"] == ["delivered", "delivered", False]
    for name in CASES:
        tracker = ask(running, f"trackers/ship24/{name}")["tracker"]
        assert [tracker[view] for view in views] == listed[name] == ["out_for_delivery", "delivered", True]


def test_commands_show_where_the_senders_view_differs(running: Service) -> None:
    listed = json.loads(run(running, "trackers", "list", "--milestone-differs", "--json"))["items"]
    assert sorted(item["tracker_id"] for item in listed) == ["early1", "tie1"]
    assert "out_for_delivery (sender: delivered)" in run(running, "trackers", "list", "--milestone-differs")
    assert "delivered (differs from the newest event)" in run(running, "trackers", "show", "early1")
    assert "differs" not in run(running, "trackers", "show", "agrees")


def test_pages_show_where_the_senders_view_differs(running: Service) -> None:
    operator = ConsoleClient(running)
    assert operator.sign_in(OPS).status == 303
    listed = operator.get("/ops/trackers?milestone_differs=true").body.decode()
    assert "FIELDEARLY1" in listed
    assert "Ship24 says: <bdi>delivered</bdi>" in listed
    assert "agrees" not in listed
    assert "own milestone" in operator.get(to_tracker("ship24", "early1")).body.decode()
    assert "own milestone" not in operator.get(to_tracker("ship24", "agrees")).body.decode()


def test_a_superseded_version_is_marked_with_the_message_that_brought_it(running: Service) -> None:
    events = ask(running, "trackers/ship24/corrected")["events"]
    assert {event["message_id"]: (event["status"], event["superseded"], event["reason"]) for event in events} == {
        "version-1": ("Out for deliver", True, None),
        "version-2": ("Out for delivery", False, "revised"),
    }
    whole = "the one of message version-1 is of 2025-03-02T00:00:01.000Z."
    assert {tuple((version["message_id"], version["superseded"]) for version in event["versions"]) for event in events} == {
        (("version-2", False), ("version-1", True))
    }
    assert all(event["correction"].endswith(whole) for event in events)
    of_event = " ".join(run(running, "trackers", "show", "corrected", "--event", "corrected-event").split())
    assert (
        "message version-2 counts because it is newer: it is of 2025-03-02 00:00:02 UTC, the one of message version-1" in of_event
    )
    shown = run(running, "trackers", "show", "corrected")
    assert "superseded (message version-1)" in shown
    assert "applied (revised)" in shown
    operator = ConsoleClient(running)
    operator.sign_in(OPS)
    page = operator.get(to_tracker("ship24", "corrected")).body.decode()
    assert page.count("is-superseded") == 2  # the event and its chip
    assert 'This version came with message <a href="/ops/messages/version-1">' in page
    assert "Applied: corrected" in page
    assert page.count(whole) == 1
    assert page.count(">Current status</span>") == 1
    assert "Superseded" in operator.get("/ops/messages/version-1").body.decode()
