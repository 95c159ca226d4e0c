"""Three receivers and two relays on one PostgreSQL behind nginx, each on its own machine, with the examples of `config/`."""

import re
from collections.abc import Iterator

import pytest

from tests.conftest import lacking
from tests.faults.verification import judge
from tests.harness import ship24
from tests.harness.deployment import OPS_TOKEN, Deployment, deployed
from tests.harness.http_client import Way, call
from tests.harness.nginx import find_nginx
from tests.harness.postgresql import find_binaries
from tests.harness.service import ROOT, TOKEN, Reply, wait_until
from tests.harness.traffic import Senders

FORWARDED = "X-Forwarded-For"
UNNOTICED = {200, 503}  # the latter where the machine has too much to do for a commit in five seconds


@pytest.fixture(scope="module")
def deployment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    """All machines, in network namespaces where those can be had, else on loopback."""
    if find_nginx() is None:
        lacking("nginx is not installed (Debian package: nginx)")
    if find_binaries() is None:
        lacking("PostgreSQL is not installed (Debian package: postgresql)")
    with deployed(tmp_path_factory.mktemp("deployment")) as opened:
        yield opened


def post(deployment: Deployment, source: str, *forwarded: str) -> Reply:
    """Post through the proxy from an address, with lines of X-Forwarded-For that the sender wrote himself."""
    return call(deployment.outside, deployment.way_in(source), ship24.single(), headers=[(FORWARDED, line) for line in forwarded])


def seen(deployment: Deployment, reply: Reply) -> tuple[str, str]:
    """Return the client and the peer on a delivery's record."""
    record = deployment.show(reply.json()["delivery_id"])
    return record["client"], record["peer"]


def test_the_client_is_the_address_that_nginx_saw_whatever_its_headers_say(deployment: Deployment) -> None:
    allowed, stranger, front = deployment.allowed[0], deployment.stranger, deployment.front.address
    for forged in ((), (stranger,), ("unknown, ,",), (stranger, f"{stranger}, {front}")):
        reply = post(deployment, allowed, *forged)
        assert (reply.status, seen(deployment, reply)) == (200, (allowed, front)), forged
    for forged in ((), (allowed,), (f"{allowed}, {front}",), (allowed, front), ("3.222.254.223",), (f"{allowed}, {allowed}",)):
        reply = post(deployment, stranger, *forged)
        assert (reply.status, seen(deployment, reply)) == (403, (stranger, front)), forged


def test_past_the_proxy_no_header_about_addresses_is_believed(deployment: Deployment) -> None:
    allowed, stranger = deployment.allowed[0], deployment.stranger
    for name, value in (
        (FORWARDED, allowed),
        (FORWARDED, f"{allowed}, {deployment.front.address}"),
        ("X-Real-IP", allowed),
        ("Forwarded", f"for={allowed}"),
    ):
        for receiver in deployment.receivers:
            reply = call(
                deployment.outside, Way(stranger, receiver.host, receiver.service.port), ship24.single(), headers=[(name, value)]
            )
            assert (reply.status, seen(deployment, reply)) == (403, (stranger, stranger)), name


def test_a_wrong_token_is_refused_through_the_proxy_and_no_token_is_in_its_logs(deployment: Deployment) -> None:
    reply = call(deployment.outside, deployment.way_in(deployment.allowed[0]), ship24.single(), token="planted-and-wrong")
    assert (reply.status, seen(deployment, reply)) == (401, (deployment.allowed[0], deployment.front.address))
    post(deployment, deployment.allowed[0])
    assert [token for token in (TOKEN, OPS_TOKEN, "planted-and-wrong") if token in deployment.nginx.written()] == []


def test_a_body_that_is_too_large_goes_on_record_and_a_much_larger_one_ends_at_the_proxy(deployment: Deployment) -> None:
    source = deployment.allowed[0]
    reply = call(deployment.outside, deployment.way_in(source), b"[" + b" " * 5_400_000)
    assert (reply.status, seen(deployment, reply)) == (413, (source, deployment.front.address))
    assert call(deployment.outside, deployment.way_in(source), b"[" + b" " * 6_400_000).headers["content-type"] == "text/html"


def test_what_is_for_operators_is_not_for_everybody(deployment: Deployment) -> None:
    source = deployment.allowed[0]
    shown = call(deployment.outside, deployment.way_in(source), None, "/ops/api/deliveries", token=OPS_TOKEN)
    assert {(item["client"], item["status"]) for item in shown.json()["items"]} >= {(source, 200)}
    for path in ("/metrics", "/readyz", "/healthz", "/"):
        assert call(deployment.outside, deployment.way_in(source), None, path, token=OPS_TOKEN).status == 404


def test_postgresql_runs_with_every_line_of_the_example(deployment: Deployment) -> None:
    text = (ROOT / "config" / "postgresql.conf").read_text(encoding="utf-8")
    lines = re.findall(r"^(\w+) = '?([^'\n]+)'?$", text, re.MULTILINE)
    assert len(lines) > 20
    expected = {name: value for name, value in lines if name != "listen_addresses"}  # that one is filled in
    shown = {name: deployment.rows(f"SHOW {name}")[0][name] for name in expected}
    assert shown == expected
    (commented,) = re.findall(r"^# (\w+) = ", text, re.MULTILINE)
    assert deployment.rows(f"SHOW {commented}")


def test_nothing_is_lost_or_doubled_when_receivers_and_relays_come_and_go(deployment: Deployment) -> None:
    first, second, third = deployment.receivers
    with deployment.outside.do(Senders, *map(deployment.way_in, deployment.allowed), pause_seconds=0.05) as traffic:
        traffic.wait_for_answers(200)
        first.service.kill()
        traffic.wait_for_answers(200)
        second.machine.do(second.service.stop)
        traffic.wait_for_answers(200)
        assert set(traffic.statuses) <= UNNOTICED, "nginx gave what was under way to another receiver"
        fourth = deployment.add_receiver()
        deployment.nginx.point_at([third.place, fourth.place])
        deployment.nginx.reload()
        wait_until(lambda: [fourth.place] in deployment.nginx.routes(), "the new receiver is called")
        wait_until(lambda: "receiver-1" in {change.relay for change in deployment.told()}, "the first relay has told something")
        deployment.relays[0].kill()
        traffic.wait_for_answers(200)
        result = deployment.outside.do(judge, "several machines", traffic, deployment.url, None)
    assert (result.lost, result.doubled) == (0, 0), result
    assert any(route[0] == first.place and len(route) > 1 for route in deployment.nginx.routes())
    callers = deployment.rows(
        "SELECT DISTINCT client, peer FROM deliveries JOIN messages ON delivery_id = id WHERE message_id LIKE 'm-%'"
    )
    assert {(row["client"], row["peer"]) for row in callers} == {
        (source, deployment.front.address) for source in deployment.allowed
    }
    check_what_was_told(deployment)


def check_what_was_told(deployment: Deployment) -> None:
    """Check that handlers got each change, in the order of its tracker."""
    forget_leases = "UPDATE dispatches SET due_at = 0 WHERE claim IS NOT NULL"  # the 90 seconds of the dead relay's are over
    deployment.execute(f"{forget_leases}; NOTIFY receiver_changes")
    wait_until(lambda: not deployment.rows("SELECT 1 FROM dispatches LIMIT 1"), "everything is handed on")
    made = deployment.rows("SELECT tracker_id, move, change_id, message_id FROM events WHERE outcome = 'applied'")
    # A repeated change keeps its first place: it came before the next one of its tracker.
    told = dict.fromkeys(change[1:] for change in deployment.told())
    assert set(told) == {(row["tracker_id"], row["move"], row["change_id"], row["message_id"]) for row in made}
    last: dict[str, int] = {}
    for tracker, move, *_ in told:
        assert move == last.get(tracker, 0) + 1
        last[tracker] = move
    assert {change.relay for change in deployment.told()} >= {"receiver-1", "receiver-2"}
