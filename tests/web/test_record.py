"""Every delivery is on record: the request, the answer and the reason."""

import os
from functools import partial

import orjson
import pytest

from tests.conftest import StartService
from tests.harness import ship24
from tests.harness.rows import Not, Row, delivery_row
from tests.harness.service import SHIP24, TOKEN, Reply, Service, name_of, wait_until

BODIES = {
    "empty": b"",
    "every byte": bytes(range(256)) * 4,
    "not JSON": b'{"trackings": [}',
    "another shape": b'{"events": []}',
    "with a NUL": b'{"trackings": "\x00"}',
    "with a byte order mark": b"\xef\xbb\xbf[]",
    "UTF-16": '{"trackings": []}'.encode("utf-16"),
    "random": os.urandom(50_000),
}


def record_of(running: Service, answer: Reply) -> Row:
    """Return the record of a delivery with its bytes."""
    return delivery_row(running.database_url, answer.json()["delivery_id"])


@pytest.mark.parametrize(
    ("settings", "token", "method", "code"),
    [
        ({}, "wrong", "POST", "unauthorized"),
        ({}, None, "POST", "unauthorized"),
        ({"ship24_ip_policy": "enforce"}, TOKEN, "POST", "address_not_allowed"),
        ({"ship24_tokens": ""}, TOKEN, "POST", "not_found"),
        ({}, TOKEN, "PUT", "method_not_allowed"),
        ({"max_body_bytes": "1024"}, TOKEN, "POST", "body_too_large"),
    ],
)
def test_a_rejected_delivery_is_on_record_with_its_reason_and_without_its_body(
    service: StartService, sqlite_url: str, settings: dict[str, str], token: str | None, method: str, code: str
) -> None:
    running = service(sqlite_url, **settings)
    bearer = [("Authorization", f"Bearer {token}")] if token else []
    answer = running.call(method, SHIP24, ship24.single() + b" " * 1024, bearer)
    row = record_of(running, answer)
    assert (row["outcome"], row["code"], row["status"]) == ("refused", code, answer.status)
    assert row["reason"] == answer.json()["error"]["message"]
    assert (row["body"], row["body_bytes"], row["answer"]) == (b"", 0, answer.body)
    assert (row["source"], row["method"], row["path"], row["peer"]) == ("ship24", method, SHIP24, "127.0.0.1")
    assert row["token"] == (None if code not in {"body_too_large"} else name_of(TOKEN))


def test_what_cannot_be_read_is_on_record_with_its_exact_bytes(service: StartService, database_url: str) -> None:
    running = service(database_url)
    for name, body in BODIES.items():
        answer = running.post(body)
        assert answer.status in {400, 422}, name
        row = record_of(running, answer)
        assert (row["outcome"], row["status"], row["code"]) == ("unreadable", answer.status, answer.json()["error"]["code"])
        assert row["reason"] == answer.json()["error"]["message"]
        assert (bytes(row["body"]), row["body_bytes"]) == (body, len(body)), name
        assert (row["token"], bytes(row["answer"])) == (name_of(TOKEN), answer.body)


def test_an_accepted_delivery_is_on_record_with_its_counts_and_times(service: StartService, sqlite_url: str) -> None:
    running = service(sqlite_url)
    old, new = ship24.event(occurrence="2025-03-01"), ship24.event(occurrence="2025-03-02")
    body = ship24.body(
        ship24.item("new", "t", [new]),
        ship24.item("old", "t", [old]),
        ship24.item("new", "t", [new]),
        ship24.item("empty", "t", []),
        "not an object",
    )
    answer = running.post(body)
    assert answer.outcomes() == ["applied", "stale", "duplicate", "recorded", "quarantined"]
    row = record_of(running, answer)
    assert [row[name] for name in ("received", "applied", "stale", "duplicate", "recorded", "quarantined")] == [5, 1, 1, 1, 1, 1]
    assert (row["outcome"], row["status"], row["code"], row["reason"]) == ("accepted", 200, None, None)
    assert (bytes(row["body"]), bytes(row["answer"])) == (body, answer.body)
    assert row["received_at"] <= row["decided_at"]
    assert (row["client"], row["peer"], row["token"], row["note"]) == ("127.0.0.1", "127.0.0.1", name_of(TOKEN), None)


def test_the_bytes_of_a_readable_delivery_are_stored_unchanged(service: StartService, sqlite_url: str) -> None:
    running = service(sqlite_url)
    body = b' {"trackings" :\n[ ],"\\u00e9":1.0e2, "a":1, "a":2} \r\n'
    assert bytes(record_of(running, running.post(body))["body"]) == body


def test_headers_are_stored_without_credentials(service: StartService, sqlite_url: str) -> None:
    running = service(sqlite_url)
    sent = [
        ("User-Agent", "Ship24/1.0"),
        ("X-Twice", "one"),
        ("X-Twice", "two"),
        ("X-Text", "r\u00e9sum\u00e9 \N{PACKAGE}"),
        ("Cookie", "session=1"),
        ("Proxy-Authorization", "Basic xyz"),
        ("X-Api-Key", "key"),
    ]
    row = record_of(running, running.post(ship24.single(), headers=sent))
    kept = [tuple(pair) for pair in orjson.loads(row["headers"])]
    assert ("user-agent", "Ship24/1.0") in kept
    assert [value for name, value in kept if name == "x-twice"] == ["one", "two"]
    assert {"authorization", "cookie", "proxy-authorization", "x-api-key"} & {name for name, _ in kept} == set()


def test_stored_headers_are_bounded(service: StartService, sqlite_url: str) -> None:
    running = service(sqlite_url)
    row = record_of(running, running.post(ship24.single(), headers=[(f"X-{number}", "x" * 500) for number in range(60)]))
    assert len(row["headers"]) < 10_000


def test_a_further_copy_is_on_record_as_a_sighting(service: StartService, sqlite_url: str) -> None:
    running = service(sqlite_url)
    first, again = (running.post(ship24.single("seen", tracker_id="t")).json()["delivery_id"] for _ in range(2))
    (copy,) = running.table("sightings", message_id="seen")
    assert (copy["delivery_id"], copy["outcome"]) == (again, "duplicate")
    assert running.value("messages", "delivery_id", message_id="seen") == first


def test_head_leaves_no_record(service: StartService, sqlite_url: str) -> None:
    running = service(sqlite_url)
    assert running.call("HEAD", SHIP24).status == 200
    running.post(ship24.single())
    assert running.count("deliveries") == 1


def test_records_sort_by_arrival(service: StartService, sqlite_url: str) -> None:
    running = service(sqlite_url)
    sent = [running.post(ship24.single()).json()["delivery_id"] for _ in range(20)]
    assert [row["id"] for row in running.table("deliveries", "id", order="id")] == sent


def test_the_last_use_of_a_token_is_noted(service: StartService, sqlite_url: str) -> None:
    running = service(sqlite_url, ship24_tokens=f"idle:another-one,used:{TOKEN}")
    running.post(ship24.single())
    used = partial(running.table, "token_uses", "token", last_used_at=Not(0))
    wait_until(lambda: used() == [{"token": "used"}], "the use of the token is noted")
