"""Authentication of webhook requests over real connections: who is accepted, and what the answer says."""

import socket
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from tests.harness import ship24
from tests.harness.raw_http import head_of, read_all
from tests.harness.service import SHIP24, TOKEN, Reply, Service, serving, wait_until
from tests.harness.table import each_row

Headers = Sequence[tuple[str, str]]
_MAX_BODY = 100_000


@pytest.fixture(scope="module")
def request_guard(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    folder = tmp_path_factory.mktemp("door")
    settings = {
        "ship24_tokens": f"old:{TOKEN},new:another-token",
        "max_body_bytes": str(_MAX_BODY),
    }
    with serving(folder, f"sqlite:///{folder}/door.db", **settings) as service:
        yield service


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    folder = tmp_path_factory.mktemp("guarded")
    settings = {"ship24_ip_policy": "enforce", "ship24_allowed_ips": "54.161.7.2", "trusted_proxies": "127.0.0.1/32,10.0.0.0/8"}
    with serving(folder, f"sqlite:///{folder}/guarded.db", **settings) as service:
        yield service


def last_record(service: Service, code: str) -> dict[str, object]:
    wait_until(lambda: service.count("deliveries", code=code), f"a call refused with {code} is on record")
    return service.table("deliveries", order="id", code=code)[-1]


# Methods and paths


@each_row("path", [SHIP24, f"{SHIP24}/"])
def test_head_is_200_and_empty_for_anybody_from_anywhere(guarded: Service, path: str) -> None:
    answer = guarded.call("HEAD", path, headers=[("X-Forwarded-For", "not-an-address")])
    assert (answer.status, answer.body) == (200, b"")


@each_row("method", ["GET", "PUT", "DELETE", "PATCH", "OPTIONS"])
def test_another_method_is_405_with_the_allowed_ones(request_guard: Service, method: str) -> None:
    answer = request_guard.call(method, SHIP24)
    assert answer.status == 405
    assert {name.strip() for name in answer.headers["allow"].split(",")} == {"POST", "HEAD"}
    assert answer.json()["error"]["code"] == "method_not_allowed"


@each_row("path", [SHIP24, f"{SHIP24}/"])
def test_both_spellings_of_the_path_take_a_delivery_without_a_redirect(request_guard: Service, path: str) -> None:
    answer = request_guard.post(ship24.single(), path=path)
    assert (answer.status, answer.outcomes()) == (200, ["applied"])


@each_row("path", ["/", "/webhooks", "/webhooks/ship25", f"{SHIP24}/more", "/webhooks/SHIP24"])
def test_an_unknown_path_is_404_in_json(request_guard: Service, path: str) -> None:
    answer = request_guard.post(ship24.single(), path=path)
    assert (answer.status, answer.headers["content-type"], answer.json()["error"]["code"]) == (
        404,
        "application/json",
        "not_found",
    )


def test_a_source_without_a_token_is_off(tmp_path: Path) -> None:
    with serving(tmp_path, f"sqlite:///{tmp_path}/off.db", ship24_tokens="") as service:
        answer = service.post(ship24.single(), token="")
        assert (answer.status, answer.json()["error"]["code"]) == (404, "not_found")
        assert "RECEIVER_SHIP24_TOKENS" in service.logs()


# Tokens

BAD_AUTHORIZATIONS = {
    "missing": [],
    "wrong": [("Authorization", "Bearer wrong")],
    "near": [("Authorization", f"Bearer {TOKEN}x")],
    "without the scheme": [("Authorization", TOKEN)],
    "of another scheme": [("Authorization", f"Basic {TOKEN}")],
    "empty": [("Authorization", "")],
    "without a token": [("Authorization", "Bearer ")],
    "two tokens": [("Authorization", f"Bearer {TOKEN} {TOKEN}")],
    "given twice": [("Authorization", f"Bearer {TOKEN}"), ("Authorization", f"Bearer {TOKEN}")],
    "right and wrong": [("Authorization", f"Bearer {TOKEN}"), ("Authorization", "Bearer wrong")],
    "not text": [("Authorization", "Bearer \N{SNOWMAN}")],
    "elsewhere": [("X-Authorization", f"Bearer {TOKEN}")],
}


@each_row("headers", BAD_AUTHORIZATIONS.values(), ids=BAD_AUTHORIZATIONS.keys())
def test_a_token_that_is_not_there_or_not_right_is_401_with_a_challenge(request_guard: Service, headers: Headers) -> None:
    answer = request_guard.post(ship24.single(), token=None, headers=headers)
    assert (answer.status, answer.headers["www-authenticate"]) == (401, "Bearer")
    assert answer.json()["error"]["code"] == "unauthorized"


def test_a_token_in_the_query_string_is_no_token(request_guard: Service) -> None:
    assert request_guard.post(ship24.single(), path=f"{SHIP24}?token={TOKEN}", token=None).status == 401


@each_row("value", [f"bearer {TOKEN}", f"BEARER {TOKEN}", f"Bearer   {TOKEN}  "])
def test_the_name_of_the_scheme_is_without_case_and_spaces_do_not_count(request_guard: Service, value: str) -> None:
    assert request_guard.post(ship24.single(), token=None, headers=[("Authorization", value)]).status == 200


def test_every_token_of_a_rotation_is_accepted_and_named_on_the_record(request_guard: Service) -> None:
    for token, name in ((TOKEN, "old"), ("another-token", "new")):
        delivery_id = request_guard.post(ship24.single(), token=token).json()["delivery_id"]
        assert request_guard.value("deliveries", "token", id=delivery_id) == name


# Addresses

ADDRESSES = {
    "the proxy itself": ([], 403),
    "the listed one": (["54.161.7.2"], 200),
    "listed, with a port": (["54.161.7.2:4711"], 200),
    "listed, mapped into IPv6": (["::ffff:54.161.7.2"], 200),
    "another one": (["54.161.7.3"], 403),
    "a spoofed left entry": (["54.161.7.2, 198.51.100.9"], 403),
    "a spoofed left entry, honest proxies": (["54.161.7.2, 198.51.100.9, 10.1.2.3"], 403),
    "listed, behind another proxy": (["54.161.7.2, 10.1.2.3"], 200),
    "listed, garbage to its left": (["garbage, 54.161.7.2"], 200),
    "garbage at the right": (["54.161.7.2, garbage"], 403),
    "an empty entry at the right": (["54.161.7.2, "], 403),
    "several lines, listed last": (["198.51.100.9", "54.161.7.2"], 200),
    "several lines, spoofed first": (["54.161.7.2", "198.51.100.9"], 403),
    "several lines, proxies between": (["54.161.7.2", "10.1.2.3"], 200),
    "proxies only": (["10.1.2.3, 10.1.2.4"], 403),
}


@each_row(("forwarded", "status"), ADDRESSES.values(), ids=ADDRESSES.keys())
def test_only_what_trusted_proxies_wrote_is_believed(guarded: Service, forwarded: list[str], status: int) -> None:
    answer = guarded.post(ship24.single(), headers=[("X-Forwarded-For", line) for line in forwarded])
    assert answer.status == status
    if status == 403:
        assert answer.json()["error"]["code"] == "address_not_allowed"


def test_a_caller_that_is_no_trusted_proxy_cannot_speak_for_others(tmp_path: Path) -> None:
    settings = {"ship24_ip_policy": "enforce", "ship24_allowed_ips": "54.161.7.2"}
    with serving(tmp_path, f"sqlite:///{tmp_path}/direct.db", **settings) as service:
        assert service.post(ship24.single(), headers=[("X-Forwarded-For", "54.161.7.2")]).status == 403
        assert last_record(service, "address_not_allowed")["client"] == "127.0.0.1"


def test_the_answer_to_a_wrong_token_does_not_reveal_whether_its_address_is_allowed(guarded: Service) -> None:
    assert guarded.post(ship24.single(), token="wrong").status == 401


def test_the_report_policy_lets_everybody_in_and_notes_whom_it_would_refuse(tmp_path: Path) -> None:
    settings = {"ship24_ip_policy": "report", "ship24_allowed_ips": "54.161.7.2", "trusted_proxies": "127.0.0.1"}
    with serving(tmp_path, f"sqlite:///{tmp_path}/report.db", **settings) as service:
        for forwarded, note in (("198.51.100.9", "would be refused"), ("garbage", "would be refused"), ("54.161.7.2", None)):
            answer = service.post(ship24.single(), headers=[("X-Forwarded-For", forwarded)])
            assert answer.outcomes() == ["applied"]
            found = service.value("deliveries", "note", id=answer.json()["delivery_id"])
            assert (found or "").split(":")[0] == (note or "")


# Bodies


def test_a_body_that_is_not_json_is_400(request_guard: Service) -> None:
    answer = request_guard.post(b'{"trackings": [')
    assert (answer.status, answer.json()["error"]["code"]) == (400, "invalid_json")


@each_row("body", [b"[]", b"{}", b'"text"', b"null", b"1", b'{"trackings": {}}', b'{"trackings": null}'])
def test_json_of_another_shape_is_422_and_names_what_was_expected(request_guard: Service, body: bytes) -> None:
    answer = request_guard.post(body)
    assert (answer.status, answer.json()["error"]["code"]) == (422, "unexpected_shape")
    assert "trackings" in answer.json()["error"]["message"]


def test_a_body_of_the_polling_api_is_422_and_recognised(request_guard: Service) -> None:
    answer = request_guard.post(b'{"data": {"trackings": [' + ship24.single() + b"]}}")
    assert (answer.status, answer.json()["error"]["code"]) == (422, "unexpected_shape")
    assert "polling" in answer.json()["error"]["message"]


def test_a_declared_body_over_the_limit_is_413_before_any_of_it_is_read(request_guard: Service) -> None:
    with request_guard.socket() as connection:
        connection.sendall(head_of("POST", f"Content-Length: {_MAX_BODY + 1}"))
        answer = read_all(connection)  # not a byte of the body was sent, and the connection is closed
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert b"body_too_large" in answer
    assert last_record(request_guard, "body_too_large")["body_bytes"] == 0


def test_a_chunked_body_over_the_limit_is_413_and_no_more_of_it_is_read(request_guard: Service) -> None:
    chunk = b"%x\r\n%s\r\n" % (10_000, b"x" * 10_000)
    with request_guard.socket() as connection:
        connection.sendall(head_of("POST", "Transfer-Encoding: chunked") + chunk * 11)  # the end of the body never comes
        answer = read_all(connection)
    assert answer.startswith(b"HTTP/1.1 413 ")


def test_a_body_of_exactly_the_limit_is_read(request_guard: Service) -> None:
    body = ship24.single()
    assert request_guard.post(body + b" " * (_MAX_BODY - len(body))).status == 200
    assert request_guard.post(body + b" " * (_MAX_BODY - len(body) + 1)).status == 413


@each_row("length", ["abc", "-1", "1e3", "", "9" * 30, "9" * 5000])
def test_a_content_length_that_is_no_number_is_a_4xx(request_guard: Service, length: str) -> None:
    with request_guard.socket() as connection:
        connection.sendall(head_of("POST", f"Content-Length: {length}") + b"{}")
        connection.shutdown(socket.SHUT_WR)
        answer = read_all(connection)
    assert answer == b"" or answer.startswith(b"HTTP/1.1 4"), answer


def test_answers_name_100_messages_and_count_all(request_guard: Service) -> None:
    items = [ship24.item(f"many-{number}") for number in range(103)]
    answer = request_guard.post(ship24.body(*items)).json()
    assert (answer["received"], answer["applied"], len(answer["messages"])) == (103, 103, 100)
    assert [message["message_id"] for message in answer["messages"]] == [f"many-{number}" for number in range(100)]


def test_no_answer_has_a_key_called_success(request_guard: Service, guarded: Service) -> None:
    answers: list[Reply] = [
        request_guard.post(ship24.single()),
        request_guard.post(ship24.body(1, {}, ship24.item(success=True))),
        request_guard.post(b"{"),
        request_guard.post(b"{}"),
        request_guard.post(ship24.single(), token="wrong"),
        request_guard.get(SHIP24),
        request_guard.get("/nothing"),
        request_guard.get("/healthz"),
        request_guard.get("/readyz"),
        guarded.post(ship24.single()),
        request_guard.post(b" " * (_MAX_BODY + 1)),
    ]
    assert {answer.status for answer in answers} == {200, 400, 401, 403, 404, 405, 413, 422}
    assert all(b'"success"' not in answer.body for answer in answers)
