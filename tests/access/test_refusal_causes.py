"""The cause of a 401: recorded, counted and explained for operators, and never told to the sender."""

import base64
from functools import partial

import pytest

from receiver.access.bearer import Secret, make_fingerprint
from receiver.access.refusal_causes import Cause, WrongTokens
from receiver.domain.labels import label
from receiver.domain.refusals import CAUSES, describe_cause
from receiver.domain.tokens import RemovedToken
from tests.conftest import StartService
from tests.harness.command import run_command
from tests.harness.service import SHIP24, TOKEN, Service, bearer, name_of, wait_until
from tests.harness.table import each_row

OPS, SHIIPP, REMOVED = "the-ops-token-of-these-tests", "the-shiipp-token-of-these-tests", "the-removed-token-of-these-tests"
UNKNOWN, API_KEY = "a-token-that-nobody-knows", "apik_a-key-of-the-api-of-ship24"
HOST = (b"host", b"here")

Headers = list[tuple[str, str]]


def sent(scheme: str, *tokens: str) -> Headers:
    return [("Authorization", f"{scheme} {token}".strip()) for token in tokens]


def basic(user: str, password: str) -> Headers:
    return sent("Basic", base64.b64encode(f"{user}:{password}".encode()).decode())


CASES: list[tuple[Headers, str, str, str | None]] = [
    ([], "", "no_token", None),
    (sent("Bearer", ""), "", "no_token", None),
    (sent("Bearer", UNKNOWN), "", "unknown_token", None),
    (sent("Bearer", "x" * 5000), "", "unknown_token", None),
    (sent("Bearer", API_KEY), "", "api_key", None),
    ([("X-Api-Key", API_KEY)], "", "api_key", None),
    (sent("Bearer", SHIIPP), "", "other_source", "shiipp, shop"),
    (sent("Bearer", OPS), "", "ops_token", "anna"),
    (sent("Bearer", f'"{OPS}"'), "", "ops_token", "anna"),
    (sent("Bearer", REMOVED), "", "removed_token", "spring, removed on 2026-11-20"),
    (sent("Bearer", f'"{TOKEN}"'), "", "wrapped", None),
    (sent("Bearer", f"Bearer {TOKEN}"), "", "wrapped", None),
    (sent("Bearer", f"<{TOKEN}>"), "", "wrapped", None),
    (sent("Bearer", f"{TOKEN}x"), "", "unknown_token", None),
    (sent("", TOKEN), "", "without_bearer", None),
    (sent("", UNKNOWN), "", "without_bearer", None),
    (sent("Token", TOKEN), "", "without_bearer", None),
    (basic("receiver", TOKEN), "", "basic", None),
    (basic(TOKEN, ""), "", "basic", None),
    (sent("Basic", "no base64"), "", "basic", None),
    (sent("Basic", ""), "", "no_token", None),
    ([("X-Api-Key", TOKEN)], "", "other_header", "x-api-key"),
    ([("X-Api-Key", f"Bearer {TOKEN}")], "", "other_header", "x-api-key"),
    ([("X-Api-Key", UNKNOWN)], "", "other_header", "x-api-key"),
    ([("X-Shop", UNKNOWN)], "", "no_token", None),  # any header may carry anything
    ([("X-Shop", TOKEN)], "", "other_header", "x-shop"),
    ([], f"token={TOKEN}", "in_query", "token"),
    ([], f"a=b&shop={TOKEN}", "in_query", "shop"),
    ([], f"token={UNKNOWN}", "in_query", "token"),
    ([], "page=1", "no_token", None),
    ([*sent("Bearer", UNKNOWN), ("X-Api-Key", TOKEN)], "", "other_header", "x-api-key"),
    (sent("Bearer", TOKEN, UNKNOWN), "", "several_headers", None),
]


@each_row(("headers", "query", "code", "detail"), CASES)
def test_the_cause_is_where_the_token_is_and_which_one_it_is(headers: Headers, query: str, code: str, detail: str | None) -> None:
    tokens = {
        "ship24": (Secret("main", TOKEN),),
        "shiipp": (Secret("shop", SHIIPP),),
        "ops": (Secret("anna", OPS),),
    }
    removed = RemovedToken("ship24", "spring", make_fingerprint(REMOVED.encode()), 1_795_176_000_000_000)
    wrong_tokens = WrongTokens(tokens, {removed.fingerprint: removed}.get)
    pairs = [HOST, *((name.lower().encode(), value.encode()) for name, value in headers)]
    assert wrong_tokens.explain("ship24", pairs, query.encode()) == Cause(code, detail)


def test_no_header_and_no_query_makes_it_fail_or_last() -> None:
    wrong_tokens = WrongTokens({"ship24": (Secret("main", TOKEN),)}, lambda _: None)
    for value in (b"", b"\xff\xfe", b"Basic \xff", b"Bearer \xff", b"x" * 30_000, b"Bearer " * 3000):
        assert wrong_tokens.explain("ship24", [(b"authorization", value)] * 400, value).code in CAUSES


def test_every_cause_has_a_sentence_and_a_label() -> None:
    assert {code for _, _, code, _ in CASES} | {"address_not_allowed"} == set(CAUSES)
    for cause in CAUSES:
        assert label(cause) != cause
        assert describe_cause("ship24", cause, "the detail")


@pytest.fixture
def running(service: StartService, sqlite_url: str) -> Service:
    """A service that had another token before."""
    running = service(sqlite_url, ship24_tokens=f"spring:{REMOVED}", shiipp_tokens=f"shop:{SHIIPP}", ops_tokens=f"anna:{OPS}")
    known = partial(running.count, "known_tokens", removed_at=None, token="spring")
    wait_until(known, "the token is recorded")
    assert running.stop() == 0
    running.env["RECEIVER_SHIP24_TOKENS"] = TOKEN
    running.restart()
    wait_until(lambda: not known(), "its removal is recorded")
    wait_until(lambda: cause_of(running, bearer(REMOVED)) == "removed_token", "the service knows it")
    return running


def cause_of(of: Service, headers: Headers, query: str = "") -> str | None:
    answer = of.call("POST", f"{SHIP24}?{query}" if query else SHIP24, b"[]", headers)
    assert answer.status == 401
    found: str | None = of.get(f"/ops/api/deliveries/{answer.json()['delivery_id']}", token=OPS).json()["cause"]
    return found


def test_the_cause_is_recorded_counted_and_explained_and_nothing_of_a_wrong_token_is_kept(running: Service) -> None:
    requests = [(headers, query) for headers, query, code, _ in CASES if code != "no_token" and len(str(headers)) < 1000]
    for headers, query in requests:
        assert cause_of(running, headers, query) is not None
    stats = running.get("/ops/api/stats", token=OPS).json()
    found = {item["cause"]: item for item in stats["refusals"] if item["cause"] is not None}
    assert set(found) == set(CAUSES) - {"no_token", "address_not_allowed"}
    assert all(item["code"] == "unauthorized" and item["advice"] and item["latest_at"] for item in found.values())
    removed = found["removed_token"]
    assert removed["detail"].startswith("spring, removed on 20")
    assert running.get(f"/ops/api/deliveries/{removed['latest_id']}", token=OPS).json()["note"] == removed["detail"]
    assert removed["detail"] in removed["advice"]
    assert 'receiver_unauthorized_total{cause="api_key",source="ship24"}' in running.get("/metrics").body.decode()
    shown = run_command("deliveries", "show", found["api_key"]["latest_id"], cwd=running.directory, env=running.env).stdout
    assert "webhook secret" in shown
    kept = repr([*running.table("deliveries"), *running.table("bodies"), *running.table("known_tokens"), *running.table("audit")])
    for secret in (UNKNOWN, API_KEY, SHIIPP, OPS, REMOVED, TOKEN):
        assert secret not in kept + running.logs()
    assert name_of(TOKEN) in kept


def test_the_answer_is_the_same_for_every_wrong_token(running: Service) -> None:
    answers = [running.call("POST", SHIP24, b"[]", bearer(token)) for token in (UNKNOWN, API_KEY, SHIIPP, OPS, REMOVED)]
    assert {answer.status for answer in answers} == {401}
    assert {answer.json()["error"]["message"] for answer in answers} == {"The request had no valid token."}
    assert len({tuple(sorted(answer.headers)) for answer in answers}) == 1
