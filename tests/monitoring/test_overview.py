"""The overview of a running service: what is sent is what the API, the page and the commands show."""

from typing import Any

from tests.conftest import StartService
from tests.harness import ship24
from tests.harness.console_client import ConsoleClient
from tests.harness.service import Service, wait_until

OPS = "the-ops-token-of-these-tests"
GREEN = b"Nothing needs attention."


def read(running: Service) -> dict[str, Any]:
    answer = running.get("/ops/api/overview", OPS)
    assert answer.status == 200
    return dict(answer.json())


def kinds(running: Service) -> set[tuple[str, str]]:
    return {(concern["weight"], concern["kind"]) for concern in read(running)["concerns"]}


def show(operator: ConsoleClient) -> bytes:
    answer = operator.get("/ops")
    assert answer.status == 200
    assert (b'class="concern' in answer.body) != (GREEN in answer.body)
    return answer.body


def test_it_is_red_as_soon_as_something_comes_and_nothing_gets_in(service: StartService, sqlite_url: str) -> None:
    running = service(sqlite_url, ops_tokens=OPS)
    operator = ConsoleClient(running)
    operator.sign_in(OPS)
    assert (read(running)["status"], kinds(running)) == ("note", {("note", "no_delivery")})
    assert show(operator).count(b"concern is-note") == 1

    assert running.post(ship24.single(), token="wrong").status == 401
    assert running.post(ship24.single(), path="/webhook/ship24").status == 404
    wait_until(lambda: kinds(running) == {("alarm", "refused"), ("alarm", "unknown_path")}, "both are alarms")
    page = show(operator)
    assert b"Nothing from Ship24 gets in" in page
    assert b"The right one is /webhooks/ship24" in page

    assert running.post(ship24.single()).status == 200
    wait_until(lambda: kinds(running) == {("warning", "refused"), ("warning", "unknown_path")}, "something gets in")
