"""The quarantine as a worklist, through a running service: API, command line and console close the same items."""

import asyncio
import html
import json
import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, NoReturn

import pytest

from receiver.errors import NotFound
from receiver.maintenance.quarantine import change_matching, count_matching, retry_matching
from receiver.maintenance.replay import StoredReplay
from receiver.storage.database import Database
from receiver.storage.queries import QuarantineFilter
from receiver.storage.queries.pages import ResultPage
from receiver.web.api.schemas.commands import DismissAnswer, ReopenAnswer, RetryQuarantineAnswer
from tests.conftest import StartService
from tests.harness import ship24
from tests.harness.command import run_command
from tests.harness.console_client import ConsoleClient
from tests.harness.rows import table_rows
from tests.harness.service import Reply, Service
from tests.harness.table import each_row

OPS = "the-ops-token-of-these-tests"


@pytest.fixture
def running(service: StartService, sqlite_url: str) -> Service:
    return service(sqlite_url, ops_tokens=f"anna:{OPS}")


def put_aside(running: Service, *message_ids: str, occurrence: str | None = "no time") -> None:
    items = [ship24.item(each, f"of-{each}", [ship24.event(occurrence=occurrence)]) for each in message_ids]
    assert running.post(ship24.body(*items)).outcomes() == ["quarantined"] * len(items)


def listed(running: Service, query: str = "") -> dict[str, dict[str, Any]]:
    """Return the listed items by message id."""
    return {item["message_id"]: item for item in running.get(f"/ops/api/quarantine{query}", OPS).json()["items"]}


def dismiss(running: Service, **body: Any) -> dict[str, Any]:
    reply = running.post(json.dumps(body).encode(), path="/ops/api/quarantine/dismiss", token=OPS)
    assert reply.status == 200, reply.body
    DismissAnswer.model_validate(reply.json(), strict=True)
    found: dict[str, Any] = reply.json()
    return found


def test_items_are_dismissed_by_id_and_by_filter_and_audited(running: Service) -> None:
    put_aside(running, "a", "b", "c")
    put_aside(running, "d", occurrence=None)
    first = listed(running)["a"]["id"]
    assert dismiss(running, ids=[first, "unknown"], note="as agreed") == {"dismissed": 1, "more": False}
    assert dismiss(running, ids=[first]) == {"dismissed": 0, "more": False}
    assert dismiss(running, reason="bad_occurrence", note="old") == {"dismissed": 2, "more": False}
    assert set(listed(running)) == {"d"}
    dismissed = listed(running, "?state=dismissed")
    assert {name: (item["state"], item["closed_by"], item["note"]) for name, item in dismissed.items()} == {
        "a": ("dismissed", "anna", "as agreed"),
        "b": ("dismissed", "anna", "old"),
        "c": ("dismissed", "anna", "old"),
    }
    audit = table_rows(running.database_url, "audit", "actor", "subject", "detail", order="id", action="quarantine dismiss")
    assert [tuple(row.values()) for row in audit][1:] == [("anna", first, None), ("anna", "2 messages", "old")]
    for choice, number in ({"ids": [first]}, 1), ({"reason": "bad_occurrence"}, 2), ({"reason": "bad_occurrence"}, 0):
        reply = running.post(json.dumps(choice).encode(), path="/ops/api/quarantine/reopen", token=OPS)
        assert ReopenAnswer.model_validate(reply.json(), strict=True) == ReopenAnswer(reopened=number, more=False)
    assert {item["note"] for item in listed(running).values()} == {None}
    assert set(listed(running)) == {"a", "b", "c", "d"}
    audit = table_rows(running.database_url, "audit", "actor", "subject", order="id", action="quarantine reopen")
    assert [tuple(row.values()) for row in audit] == [("anna", first), ("anna", "2 messages")]


@each_row(
    "body",
    [
        {},
        {"note": "everything"},
        {"ids": []},
        {"ids": ["x"], "reason": "y"},
        {"ids": ["x"] * 201},
        {"reason": "x", "note": 5},
        {"state": "open"},
    ],
)
def test_an_unclear_choice_is_refused(shared_service: StartService, body: dict[str, Any]) -> None:
    reply = shared_service(ops_tokens=OPS).post(json.dumps(body).encode(), path="/ops/api/quarantine/dismiss", token=OPS)
    assert reply.status == 422


def test_the_command_dismisses_and_reopens_in_the_running_service_and_without_it(running: Service) -> None:
    put_aside(running, "a", "b")
    put_aside(running, "d", occurrence=None)

    def run(*arguments: str) -> tuple[int, str]:
        done = run_command("quarantine", *arguments, cwd=running.directory, env=running.env)
        return done.returncode, done.stdout + done.stderr

    first = listed(running)["a"]["id"]
    assert run("dismiss", first, "--note", "as agreed") == (0, "Dismissed: 1 quarantined message.\n")
    assert run("dismiss", "--reason", "bad_occurrence", "--yes") == (0, "Dismissed: 1 quarantined message.\n")
    assert run("reopen", "--source", "ship24", "--yes") == (0, "Reopened: 2 quarantined messages.\n")
    assert run("dismiss", "--reason", "bad_occurrence", "--yes") == (0, "Dismissed: 2 quarantined messages.\n")
    assert set(listed(running)) == {"d"}
    assert running.stop() == 0
    assert run("dismiss", "--source", "ship24", "--yes") == (0, "Dismissed: 1 quarantined message.\n")
    assert run("reopen", first) == (0, "Reopened: 1 quarantined message.\n")
    assert run("dismiss", first, "--note", "as agreed") == (0, "Dismissed: 1 quarantined message.\n")
    for again in (["dismiss", "--source", "ship24", "--yes"], ["dismiss", first], ["reopen", "unknown"]):
        code, said = run(*again)
        assert (code, said.count("\n")) == (1, 1), said
    assert (run("dismiss")[0], run("reopen")[0]) == (2, 2)
    code, said = run("list", "--state", "dismissed")
    assert code == 0
    assert ": as agreed" in said


def in_days(days: int) -> str:
    return (datetime.now(UTC) + timedelta(days=days)).strftime("%Y-%m-%dT%H:%M:%S")


def retry(running: Service, **body: Any) -> dict[str, Any]:
    reply = running.post(json.dumps(body).encode(), path="/ops/api/quarantine/retry", token=OPS)
    assert reply.status == 200, reply.body
    RetryQuarantineAnswer.model_validate(reply.json(), strict=True)
    found: dict[str, Any] = reply.json()
    return found


def test_a_retry_applies_what_can_be_applied_now(service: StartService, sqlite_url: str) -> None:
    """Here the limit for dates in the future was raised; the same holds for a mapping, or a new version."""
    before = service(sqlite_url, ops_tokens=f"anna:{OPS}")
    for name in ("a", "b", "c"):
        put_aside(before, name, occurrence=in_days(5))
    put_aside(before, "d", occurrence=in_days(500))
    nothing = {"dry_run": False, "deliveries": 4, "changed": 0, "skipped": 0, "results": [], "trackers": 0, "next": None}
    assert retry(before, reason="implausible_future") == nothing
    assert before.count("audit", action="replay") == 0
    assert before.stop() == 0
    after = service(sqlite_url, ops_tokens=f"anna:{OPS}", max_future_hours="240")
    first = listed(after)["a"]["id"]
    step = {"before": {"outcome": "quarantined", "reason": "implausible_future"}, "after": {"outcome": "applied", "reason": None}}
    # Of the item that stays, the description names the new limit.
    foreseen = nothing | {"dry_run": True, "changed": 4, "results": [{**step, "messages": 3}], "trackers": 3}
    assert retry(after, source="ship24", dry_run=True) == foreseen
    first_one = nothing | {"deliveries": 1, "changed": 1, "results": [{**step, "messages": 1}], "trackers": 1}
    assert retry(after, ids=[first]) == first_one
    anna = ConsoleClient(after)
    anna.sign_in(OPS)
    preview = anna.submit("/ops/quarantine", command="show-retry", **{f"item-{listed(after)['b']['id']}": "yes"})
    assert "1 delivery of 1 would change, 1 tracker would move." in preview.body.decode()
    assert set(listed(after)) == {"b", "c", "d"}
    confirm(anna, preview, command="retry")
    assert set(listed(after)) == {"c", "d"}
    done = run_command("quarantine", "retry", "--source", "ship24", "--yes", cwd=after.directory, env=after.env)
    assert done.returncode == 0, done.stderr
    assert set(listed(after)) == {"d"}
    details = [row["detail"] for row in table_rows(after.database_url, "audit", "detail", action="replay")]
    assert details == ["retry"] * 4
    gone = run_command("quarantine", "retry", first, "--yes", cwd=after.directory, env=after.env)
    assert (gone.returncode, gone.stderr.count("\n")) == (1, 1)


def confirm(client: ConsoleClient, preview: Reply, **fields: str) -> Reply:
    """Send the form of a page that shows what would happen."""
    page = preview.body.decode()
    action = re.search(r'<form class="card lone ask" method="post" action="([^"]*)"', page)
    assert action is not None, page
    hidden = dict(re.findall(r'<input type="hidden" name="([^"]*)" value="([^"]*)"', page[action.start() :]))
    return client.post(html.unescape(action[1]), {name: html.unescape(value) for name, value in hidden.items()} | fields)


def test_the_page_dismisses_the_selected_ones_or_all_that_match(running: Service) -> None:
    put_aside(running, "a", "b", "c")
    put_aside(running, "d", occurrence=None)
    items = listed(running)
    anna = ConsoleClient(running)
    anna.sign_in(OPS)
    assert anna.submit("/ops/quarantine", command="show-dismiss").status == 422
    preview = anna.submit("/ops/quarantine", command="show-dismiss", **{f"item-{items['a']['id']}": "yes"})
    assert "1 message would be dismissed." in preview.body.decode()
    assert len(listed(running)) == 4
    assert confirm(anna, preview, command="dismiss", note="as agreed").status == 303
    assert set(listed(running)) == {"b", "c", "d"}
    preview = anna.submit("/ops/quarantine?reason=bad_occurrence&since=1h+ago", command="show-dismiss-matching")
    assert "2 messages would be dismissed." in preview.body.decode()
    put_aside(running, "e")  # which the preview has not shown
    assert confirm(anna, preview, command="dismiss").headers["location"] == "/ops/quarantine?reason=bad_occurrence&since=1h+ago"
    assert set(listed(running)) == {"d", "e"}
    page = anna.get("/ops/quarantine?state=dismissed").body.decode()
    assert page.count("Dismissed") >= 3
    assert "as agreed" in page
    assert set(re.findall(r'value="show-([^"]*)"', page)) == {"reopen", "reopen-matching"}
    preview = anna.submit("/ops/quarantine?state=dismissed", command="show-reopen", **{f"item-{items['a']['id']}": "yes"})
    assert "1 message would be reopened." in preview.body.decode()
    assert confirm(anna, preview, command="reopen").status == 303
    assert set(listed(running)) == {"a", "d", "e"}
    preview = anna.submit("/ops/quarantine?state=dismissed", command="show-reopen-matching")
    assert "2 messages would be reopened." in preview.body.decode()
    assert confirm(anna, preview, command="reopen").headers["location"] == "/ops/quarantine?state=dismissed"
    assert set(listed(running)) == {"a", "b", "c", "d", "e"}


def test_the_state_of_an_item_is_in_the_answer_about_its_message(running: Service) -> None:
    put_aside(running, "a")
    (item,) = listed(running).values()
    (part,) = (found := running.get("/ops/api/messages/a", OPS).json())["quarantined"]
    assert part == {name: item[name] for name in part}
    assert item["advice"] in found["explanation"][-1]
    dismiss(running, ids=[item["id"]], note="as agreed")
    (part,) = (found := running.get("/ops/api/messages/a", OPS).json())["quarantined"]
    assert (part["state"], part["closed_by"], part["note"]) == ("dismissed", "anna", "as agreed")
    assert f"Dismissed at {part['closed_at']} by anna: as agreed." in found["explanation"][-1]
    assert item["advice"] not in found["explanation"][-1]


def test_the_items_of_a_delivery_are_listed(running: Service) -> None:
    put_aside(running, "a", "b")
    put_aside(running, "c")
    of_first = f"delivery_id={listed(running)['a']['delivery_id']}"
    assert set(listed(running, f"?{of_first}")) == {"a", "b"}
    assert dismiss(running, delivery_id=of_first.partition("=")[2], note="x") == {"dismissed": 2, "more": False}
    assert set(listed(running, f"?{of_first}")) == set()
    assert set(listed(running, f"?{of_first}&state=all")) == {"a", "b"}
    assert set(listed(running)) == {"c"}


PAGES = {
    None: ResultPage([{"id": "3", "reason": "x", "delivery_id": "d3"}, {"id": "2", "reason": "y", "delivery_id": "d1"}], "2"),
    "2": ResultPage([{"id": "1", "reason": "x", "delivery_id": "d1"}], None),
}


async def read_page(_query: object, _database: object, _wanted: object, _limit: int, cursor: str | None) -> ResultPage:
    return PAGES[cursor]


@each_row(("seconds", "found"), [(60, (3, False)), (0, (2, True))], ids=["all pages", "one page, and there is more"])
def test_items_that_match_a_filter_are_changed_page_by_page_until_the_time_is_up(
    sqlite_url: str, seconds: float, found: tuple[int, bool]
) -> None:
    async def change(ids: Sequence[str]) -> int:
        return len(ids)

    assert asyncio.run(change_matching(read_page, Database(sqlite_url), QuarantineFilter(), seconds, change)) == found
    reasons, more = asyncio.run(count_matching(read_page, Database(sqlite_url), QuarantineFilter(), seconds))
    assert (reasons.total(), more) == found


@each_row(("seconds", "found"), [(60, (2, None)), (0, (2, "2"))], ids=["all pages", "one page, and there is more"])
def test_each_delivery_of_all_pages_is_decided_once(sqlite_url: str, seconds: float, found: tuple[int, str | None]) -> None:
    async def body_is_gone(*_: object, **__: object) -> Any:
        raise NotFound("erased meanwhile")

    def audit_nothing(*_: object) -> NoReturn:
        raise AssertionError("nothing was changed")

    database = Database(sqlite_url)
    replayer = StoredReplay(body_is_gone, body_is_gone, database)
    choice = QuarantineFilter(), None, audit_nothing, seconds
    retried, cursor = asyncio.run(retry_matching(replayer, read_page, database, *choice, dry_run=False))
    assert ((retried.deliveries, cursor), retried.skipped) == (found, 2)
