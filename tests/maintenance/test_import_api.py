"""Imports through a running service: told apart from calls everywhere, counted in no figure about calls, within limits."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import pytest

from receiver.web.api.schemas.commands import ImportAnswer
from tests.conftest import StartService
from tests.harness import ship24
from tests.harness.service import Reply, Service, bearer, serving, wait_until
from tests.harness.table import each_row

OPS = "the-ops-token-of-these-tests"
READ = "a-token-that-may-only-look"
LIMIT = 1 << 20
HANDLER = """
import pathlib
from receiver.handlers import on_change

@on_change()
def every(change):
    with pathlib.Path("told").open("a") as file:
        file.write(f"{change.tracker_id} {change.sequence}\\n")
"""
PATH = "/ops/api/deliveries/import"


@pytest.fixture
def running(shared_service: Callable[..., Service]) -> Service:
    return shared_service(ops_tokens=f"anna:{OPS}", ops_read_tokens=f"guest:{READ}", max_body_bytes=str(LIMIT))


def bring_in(running: Service, body: Any, token: str = OPS, **more: Any) -> Reply:
    content = {"source": "ship24", "body": body, **more}
    return running.call("POST", PATH, orjson.dumps(content), [("Content-Type", "application/json"), *bearer(token)])


def ask(running: Service, path: str) -> Any:
    answer = running.get(f"/ops/api/{path}", OPS)
    assert answer.status == 200, answer.body
    return answer.json()


def single(message_id: str, tracker_id: str) -> str:
    return ship24.single(message_id, tracker_id=tracker_id).decode()


def test_the_answer_is_that_of_a_webhook_with_the_trackers_that_move(running: Service) -> None:
    body = single("m1", "t1")
    foretold, done = bring_in(running, body, dry_run=True), bring_in(running, body)
    again = bring_in(running, orjson.loads(body))
    assert [answer.status for answer in (foretold, done, again)] == [200] * 3
    for answer in (foretold, done, again):
        ImportAnswer.model_validate(answer.json(), strict=True)
    assert foretold.json()["delivery_id"] is None
    assert {**done.json(), "delivery_id": None, "dry_run": True} == foretold.json()
    assert [tracker["tracker_id"] for tracker in done.json()["trackers"]] == ["t1"]
    assert (again.json()["duplicate"], again.json()["trackers"]) == (1, [])
    assert running.post(body.encode()).outcomes() == ["duplicate"]


def test_an_import_can_be_told_apart_in_lists_and_explanations(running: Service) -> None:
    sent = "2026-01-31T12:00:00Z"
    body = single("m1", "t1")
    brought = bring_in(running, body, at=sent, number=7).json()["delivery_id"]
    found = bring_in(running, single("m2", "t2"), origin="reconcile").json()["delivery_id"]
    called = running.post(ship24.single("m3", tracker_id="t3")).json()["delivery_id"]
    for origin, expected in (("import", brought), ("reconcile", found), ("webhook", called)):
        assert [row["id"] for row in ask(running, f"deliveries?origin={origin}")["items"]] == [expected]
    assert [row["origin"] for row in ask(running, "messages")["items"]] == ["webhook", "reconcile", "import"]
    shown = ask(running, f"deliveries/{brought}")
    assert (shown["sent_at"], shown["body_number"], shown["body"]) == ("2026-01-31T12:00:00.006Z", 7, body)
    assert shown["explanation"][1].endswith("first sent at 2026-01-31T12:00:00.006Z.")
    assert "Brought in by anna." in shown["explanation"]
    explained = ask(running, "messages/m2")
    assert explained["deliveries"][0]["delivery"]["origin"] == "reconcile"
    assert any(sentence.startswith("Found missing at the sender and imported") for sentence in explained["explanation"])
    entries = [(row["actor"], row["action"], row["subject"]) for row in ask(running, "audit")["items"]]
    assert entries == [("anna", "deliveries import", found), ("anna", "deliveries import", brought)]


def test_an_import_counts_in_no_figure_about_calls(service: StartService, sqlite_url: str) -> None:
    running = service(sqlite_url, ops_tokens=f"anna:{OPS}")
    old = ship24.body(ship24.item("m1", "t1", [ship24.event("e1", "2020-01-01T10:00:00Z")]))
    assert bring_in(running, old.decode()).status == 200
    quiet = {name: ask(running, "stats")["sources"]["ship24"][name] for name in ("deliveries", "received", "last_delivery_at")}
    assert quiet == {"deliveries": 0, "received": 0, "last_delivery_at": None}
    assert running.post(ship24.single("m2", tracker_id="t2")).status == 200
    newer = ship24.body(ship24.item("m3", "t2", [ship24.event("e3", "2026-02-01T10:00:00Z")]))
    assert bring_in(running, newer.decode()).json()["applied"] == 1  # the newest event of a tracker that a call changed
    wait_until(lambda: ask(running, "stats")["sources"]["ship24"]["deliveries"] == 1, "the call is counted")
    assert ask(running, "stats")["sources"]["ship24"]["lag"]["events"] == 0
    metrics = running.get("/metrics").body.decode()
    assert 'receiver_imported_messages_total{origin="import",outcome="applied",source="ship24"} 2.0' in metrics
    assert 'receiver_calls_total{source="ship24",status="200"} 1.0' in metrics
    assert 'receiver_messages_total{outcome="applied",source="ship24"} 1.0' in metrics


def test_targets_get_what_an_import_changes(tmp_path: Path, sqlite_url: str) -> None:
    (tmp_path / "told_handlers.py").write_text(HANDLER, encoding="utf-8")
    with serving(tmp_path, sqlite_url, handlers="told_handlers", ops_tokens=OPS) as running:
        assert bring_in(running, single("m1", "t1"), dry_run=True).status == 200
        assert bring_in(running, single("m2", "t2")).status == 200
        wait_until(lambda: running.count("dispatches") == 0, "the changes are handed on")
        assert (tmp_path / "told").read_text().splitlines() == ["t2 1"]


@each_row(
    "content, status, words",
    [
        ({}, 422, "source"),
        ({"source": "ship24"}, 422, "body"),
        ({"source": "dhl", "body": "{}"}, 422, "ship24"),
        ({"source": "shiipp", "body": "[]"}, 422, "new-package or manifest-status"),
        ({"source": "ship24", "body": "{"}, 400, "must be JSON"),
        ({"source": "ship24", "body": "[]"}, 422, "trackings"),
        ({"source": "ship24", "body": 1}, 422, "body"),
        ({"source": "ship24", "body": "{}", "at": "soon"}, 422, "at"),
        ({"source": "ship24", "body": '{"trackings":[]}', "at": "2999-01-01T00:00:00Z"}, 422, "future"),
        ({"source": "ship24", "body": "{}", "number": 0}, 422, "number"),
        ({"source": "ship24", "body": "{}", "origin": "webhook"}, 422, "origin"),
        ({"source": "ship24", "body": '{"trackings":["' + "x" * LIMIT + '"]}'}, 413, "RECEIVER_MAX_BODY_BYTES"),
        ({"source": "ship24", "body": "x" * 3 * LIMIT}, 413, "Expected a body of at most"),
    ],
)
def test_what_cannot_be_imported_is_refused_and_leaves_nothing(
    running: Service, content: dict[str, Any], status: int, words: str
) -> None:
    before = running.count("deliveries"), running.count("audit")
    answer = running.call("POST", PATH, orjson.dumps(content), bearer(OPS))
    assert (answer.status, words in answer.json()["error"]["message"]) == (status, True), answer.body
    assert (running.count("deliveries"), running.count("audit")) == before


def test_a_body_of_the_largest_size_is_imported(running: Service) -> None:
    body = ship24.body(ship24.item("m1", "t1")).decode()
    body += "\n" * (LIMIT - len(body.encode()))  # each line break takes two bytes in a JSON string
    assert bring_in(running, body).status == 200
    assert bring_in(running, body + "\n").status == 413


def test_an_operator_who_may_only_look_imports_nothing(running: Service) -> None:
    assert bring_in(running, single("m1", "t1"), token=READ).status == 403
    assert running.count("deliveries") == 0
