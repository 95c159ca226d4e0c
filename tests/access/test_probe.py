"""Probes of `doctor`: answered as a sender would be, not recorded, and no way to hide a message."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from receiver.access.bearer import Secret
from receiver.access.probe import ACCEPTED, HEADER, is_probe, sign_probe
from receiver.clock import now
from tests.conftest import StartService
from tests.harness import ship24
from tests.harness.command import run_command
from tests.harness.service import SHIP24, TOKEN, Reply, Service, bearer, serving, wait_until
from tests.harness.table import each_row
from tests.monitoring.test_metrics import Sample, labelled, scrape

OPS, SHIIPP_TOKEN = "the-ops-token-of-these-tests", "the-shiipp-token-of-these-tests"
ANNA, OTTO = Secret("anna", OPS), Secret("otto", "another-ops-token-of-these-tests")
NOON = datetime(2026, 11, 26, 12, 0, 30, tzinfo=UTC)
RIGHT = f"Bearer {TOKEN}".encode()
NOTHING = {SHIP24: b'{"trackings":[]}', "/webhooks/shiipp/new-package": b"[]", "/webhooks/shiipp/manifest-status": b"[]"}


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    folder = tmp_path_factory.mktemp("probed")
    tokens = {"shiipp_tokens": SHIIPP_TOKEN, "ops_tokens": f"anna:{OPS},otto:{OTTO.reveal()}"}
    with serving(folder, f"sqlite:///{folder}/probed.db", **tokens) as service:
        yield service


def traces(of: Service) -> list[int]:
    """Return the numbers of rows that a request leaves."""
    return [of.count(table) for table in ("deliveries", "token_uses", "tallies")]


def header(path: str = SHIP24, token: str | None = TOKEN, by: Secret = ANNA, minutes: int = 0) -> tuple[str, str]:
    sent = [f"Bearer {token}".encode()] if token is not None else []
    return HEADER, sign_probe(by, path, sent, now() + timedelta(minutes=minutes))


def findings(of: Service, **settings: str) -> dict[str, tuple[str, str]]:
    """Return what `doctor` finds, run with these settings instead of the service's: verdict and text by subject."""
    done = run_command("doctor", "--json", cwd=of.directory, env=of.env | settings)
    return {found["subject"]: (found["verdict"], found["finding"]) for found in json.loads(done.stdout)}


@each_row("minutes", [-5, 0, 5])
def test_the_header_is_good_for_five_minutes_and_clocks_that_differ(minutes: int) -> None:
    value = sign_probe(ANNA, SHIP24, [RIGHT], NOON + timedelta(minutes=minutes)).encode()
    assert is_probe([OTTO, ANNA], SHIP24, [RIGHT], value, NOON)


@each_row("minutes", [-6, 6, 1440])
def test_an_old_header_and_one_of_the_future_are_not_accepted(minutes: int) -> None:
    value = sign_probe(ANNA, SHIP24, [RIGHT], NOON + timedelta(minutes=minutes)).encode()
    assert not is_probe([ANNA], SHIP24, [RIGHT], value, NOON)


def test_the_header_belongs_to_one_token_path_and_authorization() -> None:
    value = sign_probe(ANNA, SHIP24, [RIGHT], NOON).encode()
    assert is_probe([ANNA], SHIP24, [RIGHT], value, NOON)
    for tokens, path, authorization in [
        ([OTTO], SHIP24, [RIGHT]),
        ([], SHIP24, [RIGHT]),
        ([ANNA], "/webhooks/ship24x", [RIGHT]),
        ([ANNA], SHIP24, [b"Bearer a-guess"]),
        ([ANNA], SHIP24, [RIGHT, RIGHT]),
        ([ANNA], SHIP24, []),
    ]:
        assert not is_probe(tokens, path, authorization, value, NOON)
    later = value.replace(value.partition(b".")[0], str(int(value.partition(b".")[0]) + 1).encode())
    assert not is_probe([ANNA], SHIP24, [RIGHT], later, NOON), "the minute is signed too"


@each_row("value", [None, b"", b".", b"1", OPS.encode(), b"9" * 5000, b"1." + b"0" * 64, "٢.".encode() + b"0" * 64])
def test_a_value_that_was_not_signed_is_not_accepted(value: bytes | None) -> None:
    assert not is_probe([ANNA], SHIP24, [RIGHT], value, NOON)


def test_the_header_gives_no_token_away() -> None:
    value = sign_probe(ANNA, SHIP24, [RIGHT], NOON)
    assert OPS not in value
    assert TOKEN not in value


def calls(of: Service) -> Sample:
    """Return the counts of deliveries and rejections since the start that are not 0."""
    counts = {key: value for key, value in scrape(of).items() if key[0] in {"receiver_calls_total", "receiver_refused_total"}}
    return {key: number for key, number in counts.items() if number}


def test_a_probe_is_answered_and_leaves_no_trace(service: StartService, sqlite_url: str) -> None:
    running = service(sqlite_url, shiipp_tokens=SHIIPP_TOKEN, ops_tokens=OPS, max_body_bytes="100000")

    def answer(path: str, token: str | None, body: bytes) -> tuple[int, str | None]:
        reply = running.post(body, path=path, token=token, headers=[header(path, token)])
        return reply.status, reply.json().get("error", {}).get("code")

    before, counted = traces(running), calls(running)
    for path, nothing in NOTHING.items():
        right = TOKEN if path == SHIP24 else SHIIPP_TOKEN
        assert answer(path, right, nothing) == (200, None)
        assert answer(path, "wrong", nothing) == (401, "unauthorized")
        assert answer(path, None, nothing) == (401, "unauthorized")
    assert answer(SHIP24, TOKEN, b"x" * 100_001) == (413, "body_too_large")
    assert calls(running) == counted
    assert running.stop() == 0  # all that was counted is written
    assert traces(running) == before


@each_row("body", [ship24.single(), b'{"trackings": []}', b"", b"no json", b"[]"], ids=repr)
def test_a_probe_with_anything_to_store_is_never_a_2xx(running: Service, body: bytes) -> None:
    reply = running.post(body, headers=[header()])
    assert (reply.status, reply.json()["error"]["code"]) == (422, "unexpected_shape")


@each_row(
    "wrong",
    [
        (HEADER, "1.2"),
        header(by=Secret("stranger", "a-guessed-ops-token")),
        header(minutes=-7),
        header("/webhooks/shiipp/new-package"),
        header(token="another"),
    ],
    ids=["no signature", "another key", "too old", "another path", "another bearer token"],
)
def test_a_wrong_header_makes_an_ordinary_delivery_and_is_not_recorded(running: Service, wrong: tuple[str, str]) -> None:
    reply = running.post(ship24.single(), headers=[wrong])
    assert reply.status == 200
    (row,) = running.table("bodies", "headers", delivery_id=reply.json()["delivery_id"])
    assert HEADER not in row["headers"]
    refused = running.post(ship24.single(), token="wrong", headers=[wrong])
    id_ = refused.json()["delivery_id"]
    wait_until(lambda: running.count("deliveries", id=id_), "the guess is recorded")


def test_head_says_whether_the_header_is_accepted_and_is_200_either_way(running: Service) -> None:
    def head(*headers: tuple[str, str]) -> Reply:
        return running.call("HEAD", SHIP24, headers=[*bearer(TOKEN), *headers])

    assert (head(header()).status, head(header()).headers.get(HEADER)) == (200, ACCEPTED)
    assert (head((HEADER, "x")).status, head((HEADER, "x")).headers.get(HEADER)) == (200, None)
    assert head().headers.get(HEADER) is None


def test_doctor_counts_nowhere(service: StartService, sqlite_url: str) -> None:
    watched = service(sqlite_url, ops_tokens=OPS, shiipp_tokens=SHIIPP_TOKEN)
    for _ in range(2):
        found = findings(watched)
        assert [found[f"POST {path}"] for path in NOTHING] == [("ok", "200, expected 200")] * 3
        assert found["ship24 deliveries"] == ("ok", "no delivery yet")
    assert watched.post(ship24.single()).status == 200
    assert found["ship24 token"][1].split(", ")[1].startswith("never used")
    assert calls(watched) == {labelled("receiver_calls_total", source="ship24", status="200"): 1}
    assert watched.stop() == 0  # all that was counted is written
    assert watched.count("deliveries") == 1
    assert watched.total("tallies", "calls", span_seconds=60) == 1


@pytest.mark.parametrize("changed", ["RECEIVER_OPS_TOKENS", "RECEIVER_SHIP24_TOKENS", "none"])
def test_doctor_posts_nothing_that_would_be_recorded(service: StartService, sqlite_url: str, changed: str) -> None:
    watched = service(sqlite_url, ops_tokens=OPS)
    verdict, text = findings(watched, **{changed: "a-token-that-it-does-not-have-yet"})[f"POST {SHIP24}"]
    if changed == "RECEIVER_OPS_TOKENS":
        assert verdict == "warn"
        assert "not tried: the running service has other tokens" in text
    elif changed == "RECEIVER_SHIP24_TOKENS":
        assert verdict == "fail"
        assert "RECEIVER_SHIP24_TOKENS" in text
        assert "restart it" in text
    else:
        assert verdict == "ok"
    assert watched.count("deliveries") == 0


def test_without_ops_tokens_doctor_sends_only_head_and_says_so(service: StartService, sqlite_url: str) -> None:
    watched = service(sqlite_url)
    found = findings(watched)
    assert found[f"HEAD {SHIP24}"] == ("ok", "200, expected 200")
    verdict, text = found[f"POST {SHIP24}"]
    assert verdict == "warn"
    assert "RECEIVER_OPS_TOKENS" in text
    assert watched.count("deliveries") == 0


def test_doctor_says_what_to_do_when_its_address_is_not_allowed(service: StartService, sqlite_url: str) -> None:
    strict = service(sqlite_url, ops_tokens=OPS, ship24_ip_policy="enforce", ship24_allowed_ips="54.161.7.2")
    verdict, text = findings(strict)[f"POST {SHIP24}"]
    assert verdict == "ok"
    assert "receiver setup-window ship24" in text
    assert "RECEIVER_SHIP24_ALLOWED_IPS" in text
    assert strict.count("deliveries") == 0
