"""The ops API: answers have the fields of the contract, and changes are audited."""

import csv
import io
import json
from collections.abc import Callable, Iterable
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import orjson
import pytest

from receiver.clock import to_micros
from receiver.sources.ship24_recovery import read_moment
from receiver.storage import queries
from receiver.storage.database import Database
from receiver.storage.queries.pages import write_cursor
from receiver.web.api.bodies import ImportBody, ResendBody, RetryBody, read_body
from receiver.web.console.links import to_message, to_tracker
from tests.conftest import StartService
from tests.harness import ship24
from tests.harness.console_client import ConsoleClient
from tests.harness.service import Service, bearer, wait_until
from tests.harness.storage import Plus, change, update_rows
from tests.harness.table import each_row

OPS = "the-ops-token-of-these-tests"
GROUPED = Path("tests/payloads/ship24/grouped.json").read_bytes()
TRACKER = "cf9f566a-493b-d686-41f3-b085bb4e429f"
STALE = "248e5a70-278a-4d50-951d-e7c63f8c51c5"


@pytest.fixture
def running(shared_service: Callable[..., Service]) -> Service:
    """A service that has kept the grouped example. On SQLite: what differs on PostgreSQL is asked in test_openapi."""
    started = shared_service(ops_tokens=f"anna:{OPS}")
    assert started.post(GROUPED).outcomes() == ["applied", "applied", "stale"]
    return started


def ask(running: Service, path: str) -> Any:
    answer = running.get(f"/ops/api/{path}", OPS)
    assert answer.status == 200, answer.body
    return answer.json()


def order(running: Service, path: str, content: dict[str, Any]) -> Any:
    answer = running.call("POST", f"/ops/api/{path}", orjson.dumps(content), bearer(OPS))
    assert answer.status == 200, answer.body
    return answer.json()


def test_a_tracker_has_its_timeline_newest_first(running: Service) -> None:
    answer = ask(running, f"trackers/ship24/{TRACKER}")
    state, events = answer["tracker"], answer["events"]
    assert (state["tracking_number"], state["latest_occurrence"]) == ("S24DEMO987452", "2021-02-03T12:17:00")
    assert state["status"] == "Arrived in destination country"
    assert [(event["outcome"], event["reason"]) for event in events] == [("applied", None), ("stale", "older")]
    assert [event["occurrence"] for event in events] == ["2021-02-03T12:17:00", "2021-02-02T20:10:00"]
    assert events[0]["event_id"] == state["latest_event_id"]


def found(running: Service, path: str, queries: Iterable[str]) -> dict[str, int]:
    """Return how many items each query has."""
    return {query: len(ask(running, f"{path}?{query}")["items"]) for query in queries}


def test_a_tracker_is_found_by_number_or_id_without_case(running: Service) -> None:
    for query in ("q=s24demo987452", "q=S24DEMO98", f"q={TRACKER.upper()}", "source=ship24&q=S24DEMO987452"):
        assert [item["tracker_id"] for item in ask(running, f"trackers?{query}")["items"]] == [TRACKER], query


def test_one_search_answers_trackers_messages_deliveries_and_customers(running: Service) -> None:
    assert [row["tracker_id"] for row in ask(running, "search?q=%20s24demo987452%20")["trackers"]] == [TRACKER]
    assert [row["tracker_id"] for row in ask(running, "search?q=987452")["trackers"]] == [TRACKER]
    assert [row["message_id"] for row in ask(running, f"search?q={STALE[:12].upper()}")["messages"]] == [STALE]
    delivery = ask(running, "deliveries")["items"][0]
    assert ask(running, f"search?q={delivery['id'][:13]}")["deliveries"] == [delivery]
    customer = orjson.dumps({"UserCode": "ABC1", "FirstName": "Ann", "LastName": "Lee"}).decode()
    order(running, "customers", {"rows": [["ABC1", customer]]})
    for text in ("ABC1", "Abc1", "abc1", "lee"):
        assert [row["UserCode"] for row in ask(running, f"search?q={text}")["customers"]] == ["ABC1"], text
    assert running.get("/ops/api/search", OPS).status == running.get("/ops/api/search?q=%20", OPS).status == 422


def test_a_list_as_csv_has_all_rows_that_the_filter_shows(running: Service) -> None:
    names = [{"trackerId": f"t-{number:03}", "trackingNumber": f"=N{number}"} for number in range(250)]
    running.post(ship24.body(*(ship24.item(tracker_id=name["trackerId"], tracker=name) for name in names)))
    answer = running.get("/ops/api/trackers?format=csv&q==n", OPS)
    assert (answer.status, answer.headers["content-type"]) == (200, "text/csv; charset=utf-8")
    rows = list(csv.DictReader(io.StringIO(answer.body.decode(), newline="")))
    assert sorted(row["tracker_id"] for row in rows) == [f"t-{number:03}" for number in range(250)]
    assert {row["tracking_number"][:4] for row in rows} == {'="=N'}
    assert sorted(rows[0]) == sorted(ask(running, "trackers")["items"][0])
    for wrong in ("format=xml", "format=csv&cursor=x", "format=csv&nobody=1"):
        assert running.get(f"/ops/api/trackers?{wrong}", OPS).status == 422, wrong
    assert running.get("/ops/api/trackers?format=csv").status == 401


def test_trackers_are_filtered(running: Service) -> None:
    expected = {
        "": 2,
        "source=shiipp": 0,
        "milestone=delivered": 0,
        "updated_after=2020-01-01T00:00:00Z": 2,
        "updated_before=2020-01-01T00:00:00Z": 0,
        "updated_after=yesterday": 2,
        "updated_before=2h%20ago": 0,
        "stuck_days=2": 0,
    }
    assert found(running, "trackers", expected) == expected


def test_a_tracker_that_has_not_moved_for_days_is_stuck_until_it_is_delivered(running: Service) -> None:
    update_rows(running.database_url, "trackers", moved_at=Plus(-259_200_000_000))
    assert found(running, "trackers", ["stuck_days=2", "stuck_days=4"]) == {"stuck_days=2": 2, "stuck_days=4": 0}
    update_rows(running.database_url, "trackers", status_milestone="delivered")
    assert found(running, "trackers", ["stuck_days=2"]) == {"stuck_days=2": 0}


def test_a_list_is_read_in_pages(running: Service) -> None:
    first = ask(running, "trackers?limit=1")
    second = ask(running, f"trackers?limit=1&cursor={first['next']}")
    assert {first["items"][0]["tracker_id"], second["items"][0]["tracker_id"]} > {TRACKER}
    assert second["next"] is None


def test_a_time_in_a_body_may_have_a_small_z() -> None:
    written, moment = "2025-03-01t10:00:00z", to_micros(datetime(2025, 3, 1, 10, tzinfo=UTC))
    body = orjson.dumps({"source": "ship24", "body": "{}", "at": written})
    assert (read_body(ImportBody, body).at, read_moment(written)) == (moment, moment)


def test_what_has_a_long_id_is_found_by_it(running: Service) -> None:
    long_message, long_tracker = "m" * 201, "t" * 201
    running.post(ship24.body(ship24.item(long_message, long_tracker)))
    assert ask(running, f"messages/{long_message}")["outcome"] == "applied"
    assert len(ask(running, f"trackers/ship24/{long_tracker}")["events"]) == 1
    assert len(ask(running, f"deliveries?message_id={long_message}")["items"]) == 1
    assert len(ask(running, f"trackers?q={long_tracker}")["items"]) == 1
    search = "search?q="
    found = [ask(running, f"{search}{text}") for text in (long_message, long_tracker, f"ship24/{long_tracker}")]
    assert [(len(one["trackers"]), len(one["messages"])) for one in found] == [(0, 1), (1, 0), (1, 0)]
    named = {"source": "ship24", "tracker_id": long_tracker}
    stored = found[1]["trackers"][0]["tracker_id"]
    assert order(running, "forget", named)["tracker_id"] == stored
    bodies = [read_body(RetryBody, orjson.dumps({"target": "t", **named})), read_body(ResendBody, orjson.dumps(named))]
    assert [body.model_dump()["tracker_id"] for body in bodies] == [stored, stored]
    with closing(Database(running.database_url)) as database:
        assert queries.find_tracker(database, f"ship24/{long_tracker}", ["ship24"]) == ("ship24", stored)


def test_an_id_with_a_line_feed_and_a_slash_has_a_page(running: Service, anna: ConsoleClient) -> None:
    running.post(ship24.body(ship24.item("m/1\nx", "t/1\nx")))
    assert ask(running, "messages/m%2F1%0Ax")["outcome"] == "applied"
    assert len(ask(running, "trackers/ship24/t%2F1%0Ax")["events"]) == 1
    for path in (to_message("m/1\nx"), to_tracker("ship24", "t/1\nx")):
        assert anna.get(path).status == 200, path
    assert (anna.get("/ops/no%0Apage").status, running.get("/ops/api/no%0Apage", OPS).status) == (404, 404)


def test_the_next_page_after_long_names_and_after_no_name_is_answered(running: Service) -> None:
    for number in range(2):
        names = {"trackerId": "\N{FLEXED BICEPS}" * 199 + str(number), "trackingNumber": "\N{FLEXED BICEPS}" * 199}
        running.post(ship24.body(ship24.item(tracker=names)))
    for path in ("trackers?limit=1", "trackers?limit=1&q=%F0%9F%92%AA"):
        answer = ask(running, f"{path}&cursor={ask(running, path)['next']}")
        assert len(answer["items"]) == 1, path
    empty = write_cursor("")
    for path in ("deliveries", "deliveries?sort=oldest", "quarantine", "audit"):
        separator = "&" if "?" in path else "?"
        assert running.get(f"/ops/api/{path}{separator}cursor={empty}", OPS).status == 200, path


def test_a_message_has_the_newer_event_and_every_delivery_that_carried_it(running: Service) -> None:
    running.post(GROUPED)
    answer = ask(running, f"messages/{STALE}")
    assert (answer["outcome"], answer["reason"], answer["tracker_id"]) == ("stale", "older", TRACKER)
    assert answer["against"]["occurrence"] == "2021-02-03T12:17:00"
    assert [carried["outcome"] for carried in answer["deliveries"]] == ["stale", "duplicate"]
    assert {carried["delivery"]["client"] for carried in answer["deliveries"]} == {"127.0.0.1"}
    assert "“Arrived in destination country” of 2021-02-03T12:17:00" in " ".join(answer["explanation"])


def test_deliveries_are_filtered(running: Service) -> None:
    running.post(GROUPED, token="wrong")
    running.post(b"no json")
    expected = {
        "": 3,
        "outcome=refused": 1,
        "outcome=unreadable": 1,
        "status=401": 1,
        "status=200": 1,
        "client=127.0.0.1": 3,
        "client=192.0.2.1": 0,
        f"message_id={STALE}": 1,
        "tracking_number=s24demo987452": 1,
        "since=2020-01-01T00:00:00Z&until=2020-01-02T00:00:00Z": 0,
        "source=ship24&outcome=accepted": 1,
    }
    assert found(running, "deliveries", expected) == expected


def test_a_delivery_has_its_exact_body_and_our_answer(running: Service) -> None:
    (item,) = ask(running, "deliveries")["items"]
    whole = ask(running, f"deliveries/{item['id']}")
    assert whole["body"].encode() == GROUPED
    assert (whole["answer"]["received"], [message["outcome"] for message in whole["messages"]]) == (
        3,
        ["applied", "applied", "stale"],
    )
    assert "authorization" not in dict(whole["headers"])
    odd = running.post(b"\xff\xfe").json()["delivery_id"]
    assert ask(running, f"deliveries/{odd}")["body_base64"] == "//4="


def test_a_rejected_delivery_names_the_rule_that_rejected_it(running: Service) -> None:
    refused = running.post(GROUPED, token="wrong").json()["delivery_id"]
    assert "RECEIVER_SHIP24_TOKENS" in " ".join(ask(running, f"deliveries/{refused}")["explanation"])


def test_quarantine_lists_what_waits_with_the_reason(running: Service) -> None:
    running.post(Path("tests/payloads/ship24/missing_tracker_id.json").read_bytes())
    (item,) = ask(running, "quarantine")["items"]
    assert item["reason"] == "missing_tracker_id"
    assert orjson.loads(item["raw"])["metadata"]["messageId"] == item["message_id"]
    assert "belongs to no parcel" in item["advice"]
    assert ask(running, "quarantine?reason=another")["items"] == []
    assert found(running, "quarantine", ["q=lz4829", "q=nothing-like-it", "until=2020-01-01"]) == {
        "q=lz4829": 1,
        "q=nothing-like-it": 0,
        "until=2020-01-01": 0,
    }


def test_statistics_count_deliveries_and_verdicts(service: StartService, sqlite_url: str) -> None:
    running = service(sqlite_url, ops_tokens=f"anna:{OPS}")
    running.post(GROUPED)
    running.post(GROUPED, token="wrong")

    def counted() -> bool:
        return bool(ask(running, "stats?window=1h")["sources"]["ship24"]["deliveries"] == 2)

    wait_until(counted, "the tallies are written")
    statistics = ask(running, "stats?window=1h")["sources"]["ship24"]
    assert (statistics["received"], statistics["applied"], statistics["stale"]) == (3, 2, 1)
    assert statistics["outcomes"] == {"accepted": 1, "refused": 1, "unreadable": 0, "failed": 0}
    assert statistics["codes"] == {"unauthorized": 1}
    assert statistics["lag"]["events"] == 2
    assert statistics["last_delivery_at"] is not None


def test_a_wrong_parameter_is_422_and_names_what_is_wrong(running: Service) -> None:
    wrong = {
        "trackers?colour=red": "colour",
        "trackers?limit=0": "limit",
        "trackers?limit=201": "limit",
        "trackers?limit=1&limit=2": "Expected",
        "trackers?cursor=nonsense": "cursor",
        "trackers?updated_after=soon": "updated_after",
        "deliveries?outcome=lost": "outcome",
        "deliveries?status=ok": "status",
        "stats?window=1y": "window",
    }
    for path, word in wrong.items():
        answer = running.get(f"/ops/api/{path}", OPS)
        assert (answer.status, answer.json()["error"]["message"].partition(" ")[0].rstrip(":")) == (422, word), path


def test_what_is_not_known_is_404(running: Service) -> None:
    for path in ("trackers/ship24/none", "trackers/none/none", "messages/none", "deliveries/none", "nothing"):
        assert running.get(f"/ops/api/{path}", OPS).status == 404, path


def test_a_setup_window_is_opened_and_closed_and_both_are_on_record(running: Service) -> None:
    closes_at = (datetime.now(UTC) + timedelta(minutes=5)).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    opened = order(running, "setup-windows", {"source": "ship24", "closes_at": closes_at})
    assert opened["closes_at"] == closes_at
    order(running, "setup-windows", {"source": "ship24", "closes_at": "2026-01-31"})
    entries = ask(running, "audit")["items"]
    assert [(entry["action"], entry["actor"]) for entry in entries] == [
        ("setup-window close", "anna"),
        ("setup-window open", "anna"),
    ]
    assert {entry["address"] for entry in entries} == {"127.0.0.1"}


ORDERS: dict[str, dict[str, Any]] = {
    "setup-windows": {"source": "ship24", "closes_at": "2026-01-31T12:00:00Z"},
    "customers": {"rows": [["A", '{"UserCode":"A"}']]},
    "prune": {},
    "forget": {"source": "ship24", "tracker_id": "t"},
    "targets/flush": {"target": "shop"},
    "targets/pause": {"target": "shop"},
    "targets/resend": {"source": "ship24", "tracker_id": "t"},
    "targets/resume": {"target": "shop"},
    "targets/retry": {"target": "shop"},
    "targets/test": {"target": "shop"},
    "deliveries/none/replay": {},
}


@each_row("path", ORDERS)
def test_an_order_with_a_parameter_that_is_not_known_is_refused(running: Service, path: str) -> None:
    for url, wrong in ((f"{path}?bodies_days=1", ORDERS[path]), (path, {**ORDERS[path], "bodydays": 1})):
        answer = running.call("POST", f"/ops/api/{url}", json.dumps(wrong).encode(), bearer(OPS))
        assert (answer.status, "is not a parameter here" in answer.json()["error"]["message"]) == (422, True), url
    assert running.get("/ops/api/openapi.json?bodies_days=1", OPS).status == 422
    assert ask(running, "audit")["items"] == []


@each_row(
    ("path", "content", "words"),
    [
        ("reconcile/ship24", {"all_trackers": True, "cancel": True}, "cancel: expected the `run` to stop"),
        ("reconcile/ship24", {"run": "some-id", "dry_run": True}, "run: expected no other field"),
        ("reconcile/ship24", {"trackers": [f"{number:036}" for number in range(1000)]}, "Set RECEIVER_SHIP24_API_KEY"),
        ("deliveries/import", {"source": "ship24", "body": {"trackings": [], "weight": float("nan")}}, "body: the value cannot"),
        ("deliveries/import", {"source": "ship24", "body": {"trackings": [], "weight": float("inf")}}, "body: the value cannot"),
    ],
)
def test_an_order_that_cannot_be_done_as_it_stands_is_refused(
    running: Service, path: str, content: dict[str, Any], words: str
) -> None:
    answer = running.call("POST", f"/ops/api/{path}", json.dumps(content).encode(), bearer(OPS))
    assert (answer.status, words in answer.json()["error"]["message"]) == (422, True), answer.body
    assert ask(running, "audit")["items"] == []


@each_row("moment", [1_800_000_000_000_000, 20260131, None, "soon", "1800000000", ""])
def test_a_time_in_a_body_is_iso_8601(running: Service, moment: object) -> None:
    body = json.dumps({"source": "ship24", "closes_at": moment}).encode()
    answer = running.call("POST", "/ops/api/setup-windows", body, bearer(OPS))
    assert (answer.status, "2026-01-31T12:00:00Z" in answer.json()["error"]["message"]) == (422, True)


def test_every_time_in_a_body_is_described_as_a_date_time(running: Service) -> None:
    schemas = ask(running, "openapi.json")["components"]["schemas"]
    times = {
        (name, field): schema
        for name, model in schemas.items()
        for field, schema in model["properties"].items()
        if field.endswith("_at")
    }
    assert times
    for place, schema in times.items():
        kinds = {choice.get("type"): choice.get("format") for choice in schema.get("anyOf", [schema])}
        assert kinds.get("string") == "date-time", place


def test_an_order_for_a_target_that_is_not_known_is_404(running: Service) -> None:
    for path in ("targets/flush", "targets/pause", "targets/resume", "targets/retry"):
        for name in ("shop", "\0", "x" * 500):
            answer = running.call("POST", f"/ops/api/{path}", json.dumps({"target": name}).encode(), bearer(OPS))
            assert (answer.status, "There is no target" in answer.json()["error"]["message"]) == (404, True)
    assert ask(running, "audit")["items"] == []


def test_an_order_that_the_database_does_not_take_ends_nothing(service: StartService, database_url: str) -> None:
    running = service(database_url, ops_tokens=f"anna:{OPS}")
    change(running.database_url, "DROP TABLE audit")
    answer = running.call(
        "POST", "/ops/api/setup-windows", b'{"source":"ship24","closes_at":"2026-01-31T12:00:00Z"}', bearer(OPS)
    )
    assert answer.status in {422, 503}
    assert running.post(ship24.single()).outcomes() == ["applied"]


def test_names_with_slashes_and_odd_letters_are_found(running: Service) -> None:
    name = "a/b c%d#é?/"
    running.post(ship24.body(ship24.item("odd", tracker_id=name)))
    path = "a%2Fb%20c%25d%23%C3%A9%3F%2F"
    assert ask(running, f"trackers/ship24/{path}")["tracker"]["tracker_id"] == name


def test_without_an_ops_token_in_the_settings_there_is_nothing(service: StartService, sqlite_url: str) -> None:
    running = service(sqlite_url)
    assert {running.get(f"/ops/api/{path}", OPS).status for path in ("trackers", "stats", "openapi.json")} == {404}


@each_row(
    "path",
    [
        "trackers?source=%20ship24&limit=%205%20",
        "trackers?updated_after=%202020-01-01T00:00:00Z%20",
        "deliveries?outcome=accepted%20&status=%0A200",
        "stats?window=%2024h",
    ],
)
def test_white_space_around_parameters_is_trimmed_whatever_their_kind(running: Service, path: str) -> None:
    assert ask(running, path) != {"items": [], "next": None}
