"""What `receiver check` sends, and how it judges answers."""

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime
from threading import Barrier
from typing import Any, get_args

from receiver.access.bearer import Secret
from receiver.sources.ship24 import split
from receiver.testkit.check import judging
from receiver.testkit.check.checking import Check, OpsAccess
from receiver.testkit.check.endings import endings
from receiver.testkit.check.parcels import JOURNEY, Parcels
from receiver.testkit.check.planning import CheckPlan, make_plan
from receiver.testkit.check.records import Bearer, CheckRequest, CheckResult, Judge, Judgement, Level, Severity
from receiver.testkit.check.target import CheckTarget, PreparedRequest, prepare, read_target
from receiver.testkit.http import HttpReply, NoReply, Reply
from tests.harness import endpoint
from tests.harness.endpoint import Wire, answering, say
from tests.harness.service import DEADLINE_SECONDS
from tests.harness.table import each_row

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
PARCELS = Parcels("0a1b2c3d", NOW)
TOKEN = Secret("right", "the-right-token")
WRONG = Secret("wrong", "another-token-1")
CLOSED = NoReply("the connection was closed without a response", 0.5)
SILENT = NoReply("no complete response within 15 s", 15.0)
PLAN = make_plan(15.0, expect_ops=True, token_in_query=True)


def reply(status: int, body: object = None, *headers: tuple[str, str], **fields: Any) -> HttpReply:
    said = b"" if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
    return HttpReply(status, headers, said, fields.pop("seconds", 0.01), **fields)


OK = reply(200, {"ok": True})


@each_row(
    ("judge", "answers", "expected"),
    [
        (judging.accepted, [OK, reply(204)], Judgement("good", "200, 204")),
        (judging.accepted, [OK, reply(500, b"oops")], Judgement("bad", "request 2 of 2: 500 oops")),
        (judging.accepted, [SILENT], Judgement("bad", "no complete response within 15 s")),
        (judging.accepted, [reply(301, None, ("location", "/x"))], Judgement("bad", "301 to /x")),
        (judging.accepted, [reply(304)], Judgement("bad", "304 to nowhere")),
        (judging.accepted, [reply(200, {"success": False})], Judgement("bad", "200, but with `success: false` in it")),
        (judging.accepted, [reply(200, {"success": "False"})], Judgement("bad", "200, but with `success: false` in it")),
        (judging.accepted, [reply(200, {"success": None, "deep": {"success": False}})], Judgement("good", "200")),
        (judging.accepted, [reply(200, b"x" * 2000, is_cut=True)], Judgement("bad", "200, and a body of more than 2 kB")),
        (judging.unauthorized, [reply(401), reply(403)], Judgement("good", "401, 403")),
        (judging.unauthorized, [reply(404, b"?")], Judgement("weak", "404 ?")),
        (judging.unauthorized, [SILENT], Judgement("weak", "no complete response within 15 s")),
        (judging.unauthorized, [reply(401), OK], Judgement("bad", '200 {"ok": true}')),
        (judging.unauthorized, [reply(200, {"success": False})], Judgement("weak", '200 {"success": false}')),
        (judging.not_accepted, [reply(422), reply(500)], Judgement("good", "422, 500")),
        (judging.not_accepted, [reply(422), OK], Judgement("bad", 'request 2 of 2: 200 {"ok": true}')),
        (judging.not_accepted, [SILENT], Judgement("bad", "no complete response within 15 s")),
        (judging.rejected_by_receiver, [reply(400)], Judgement("good", "400")),
        (judging.rejected_by_receiver, [reply(500)], Judgement("bad", "500")),
        (judging.probed, [reply(200)], Judgement("good", "200")),
        (judging.probed, [reply(204)], Judgement("bad", "204")),
        (judging.kept_open, [reply(200, closes=False)] * 2, Judgement("good", "one connection served all requests")),
        (judging.kept_open, [OK, OK], Judgement("good", "every response closes its connection")),
        (
            judging.kept_open,
            [reply(200, closes=False), SILENT],
            Judgement("bad", "kept open, then: no complete response within 15 s"),
        ),
        (judging.never_success, [SILENT], Judgement("unknown", "no response")),
        (judging.never_success, [OK, reply(401, {"success": False})], Judgement("good", "none")),
        (judging.never_success, [reply(200, {"success": True})], Judgement("bad", '1 of 1, as 200 {"success": true}')),
        (judging.never_success, [reply(200, b"[]"), OK], Judgement("good", "none")),
        (judging.never_repeated, [OK, reply(401, repeats_token=True)], Judgement("bad", "1 of 2, as 401")),
        (judging.never_repeated, [OK], Judgement("good", "none")),
        (judging.answered_within(15), [OK, reply(200, seconds=1.25)], Judgement("good", "the slowest took 1.25 s")),
        (judging.answered_within(15), [reply(200, seconds=6)], Judgement("weak", "the slowest took 6.00 s")),
        (judging.answered_within(15), [OK, SILENT], Judgement("bad", "1 of 2 without: no complete response within 15 s")),
        (judging.answered_within(15), [OK, CLOSED], Judgement("good", "the slowest took 0.01 s")),
        (judging.answered_within(15), [CLOSED], Judgement("unknown", "no response")),
    ],
)
def test_answers_are_judged_by_what_ship24_does_with_them(judge: Judge, answers: Sequence[Reply], expected: Judgement) -> None:
    assert judge(answers) == expected


def test_a_bad_answer_fails_what_must_be_and_warns_of_what_should() -> None:
    severities: tuple[Severity, ...] = get_args(Severity)
    levels: tuple[Level, ...] = get_args(Level)
    found = {level: [judging.verdict_of(severity, Judgement(level, "")) for severity in severities] for level in levels}
    assert found == {"good": ["pass"] * 2, "weak": ["warn"] * 2, "bad": ["fail", "warn"], "unknown": ["unknown"] * 2}


def ours(*outcomes: str) -> HttpReply:
    return reply(200, {"delivery_id": "1", "messages": [{"message_id": "m", "outcome": outcome} for outcome in outcomes]})


def test_verdicts_are_compared_where_an_answer_has_them_or_has_to() -> None:
    expected = ("applied", "duplicate")
    in_turn = [ours("applied"), ours("duplicate")]
    assert judging.decided_as(expected, in_turn, ours=True, at_once=False) is None
    assert judging.decided_as(expected, in_turn[::-1], ours=True, at_once=True) is None
    assert judging.decided_as(expected, [OK, OK], ours=False, at_once=False) is None
    other = judging.decided_as(expected, [OK, OK], ours=True, at_once=False)
    assert other == Judgement("bad", "no verdicts in the response: not this service")
    twice = judging.decided_as(expected, [ours("applied")] * 2, ours=False, at_once=True)
    assert twice == Judgement("bad", "applied instead of applied | duplicate")


def test_text_from_outside_is_written_out_and_cut() -> None:
    assert judging.describe(reply(200, b"\x1b[31m\xff\xe2\x80\xae" + b"a" * 500)) == rf"200 \x1b[31m\xff\u202e{'a' * 50}…"


@each_row(
    ("url", "shown", "other", "service"),
    [
        ("http://here/webhooks/ship24", "http://here/webhooks/ship24", "/webhooks/ship24/", "http://here"),
        ("https://here:443/a/webhooks/ship24/?k=v", "https://here/a/webhooks/ship24/", "/a/webhooks/ship24", "https://here/a"),
        ("HTTP://[::1]:8080", "http://[::1]:8080/", "/", "http://[::1]:8080"),
        ("http://here/hook%20ä", "http://here/hook%20%C3%A4", "/hook%20%C3%A4/", "http://here"),
    ],
)
def test_a_url_is_read_as_it_is_sent(url: str, shown: str, other: str, service: str) -> None:
    target = read_target(url)
    assert (str(target), target.other_spelling(), str(target.service())) == (shown, other, service)


HERE = CheckTarget(is_secure=False, host="here", port=8080, path="/hook", query="k=v")


def prepared(request: CheckRequest) -> PreparedRequest:
    return prepare(HERE, request, TOKEN, WRONG)


def test_the_token_is_sent_in_the_form_that_the_case_names() -> None:
    forms: tuple[Bearer, ...] = get_args(Bearer)
    requests = {form: prepared(CheckRequest(b"{}", bearer=form)) for form in forms}
    assert {form: request.headers.get("Authorization") for form, request in requests.items()} == {
        "right": "Bearer the-right-token",
        "none": None,
        "wrong": "Bearer another-token-1",
        "other scheme": "Token the-right-token",
        "lower case": "bearer the-right-token",
        "in the query": None,
    }
    urls = {form: request.url for form, request in requests.items()}
    assert urls.pop("in the query").startswith("http://here:8080/hook?k=v&token=the-right-token&")
    assert set(urls.values()) == {"http://here:8080/hook?k=v"}


def test_a_probe_has_no_body_and_may_spell_the_path_otherwise() -> None:
    request = prepared(CheckRequest(method="HEAD", other_spelling=True))
    assert (request.method, request.url, request.body) == ("HEAD", "http://here:8080/hook/?k=v", None)


def test_a_body_goes_whole_or_in_chunks() -> None:
    assert prepared(CheckRequest(b"x" * 1001)).body == b"x" * 1001
    pieces = prepared(CheckRequest(b"x" * 1001, chunked=True)).body
    assert isinstance(pieces, AsyncIterator)

    async def collect(pieces: AsyncIterator[bytes]) -> list[bytes]:
        return [piece async for piece in pieces]

    assert asyncio.run(collect(pieces)) == [b"x" * 1000, b"x"]


def test_every_rule_has_a_name_of_its_own_and_a_page() -> None:
    rules = [*(case.rule for case in PLAN.cases), *(each.rule for each in PLAN.endings), *(each.rule for each in PLAN.overall)]
    assert len({rule.name for rule in rules}) == len(rules) == len(PLAN)
    assert {rule.page.partition("/")[0] for rule in rules} == {
        *("docs.ship24.com", "the documentation of this service", "none: seen in the vendor's own code, 2026-09"),
    }
    assert all(rule.does and rule.expected and rule.vendor for rule in rules)
    cases = {case.rule.name for case in PLAN.cases}
    assert {ending.after for ending in PLAN.endings} <= cases
    without = make_plan(15.0, expect_ops=False, token_in_query=False)
    assert cases - {case.rule.name for case in without.cases} == {"token in the query only"}
    assert without.endings == ()


def test_each_run_has_ids_of_its_own() -> None:
    again, another = Parcels("0a1b2c3d", NOW), Parcels("0a1b2c3e", NOW)
    for case in PLAN.cases:
        assert case.make(PARCELS) == case.make(again)
    ids = [
        {message.message_id for case in PLAN.cases for call in case.make(parcels) for message in read(call)}
        for parcels in (PARCELS, another)
    ]
    assert len(ids[0] - {None}) > 100
    assert ids[0] & ids[1] == {None}  # of the bad item
    assert PARCELS.number("nine").startswith("CHECK0A1B2C3D")


def calls_of(name: str) -> Sequence[CheckRequest]:
    (case,) = [case for case in PLAN.cases if case.rule.name == name]
    return case.make(PARCELS)


def items_of(name: str) -> list[dict[str, Any]]:
    return [item for call in calls_of(name) for item in json.loads(call.body)["trackings"]]


def test_the_bodies_are_as_odd_as_their_names() -> None:
    assert [len(call.body) for call in calls_of("1 MB in one delivery")] == [1_000_000]
    assert len(items_of("100 messages in one delivery")) == 100
    assert [call.chunked for call in calls_of("body in chunks")] == [True]
    assert [call.content_type for call in calls_of("charset in Content-Type")] == ["application/json; charset=utf-8"]
    assert len({call.body for call in calls_of("the same delivery again")}) == 1
    assert [item.get("shipment", "none") for item in items_of("shipment: null")] == [None, "none"]
    assert [item.get("events", "none") for item in items_of("no events")] == [None, [], "none"]
    assert [item["metadata"].get("topic") for item in items_of("no topic")] == [None]
    assert [item and item["metadata"].get("messageId") is None for item in items_of("an invalid message among valid ones")] == [
        *(False, True, None, False)
    ]


def test_events_and_items_stand_newest_first() -> None:
    (item,) = items_of("nine events in one message")
    times = [event["occurrenceDatetime"] for event in item["events"]]
    assert (len(times), times) == (9, sorted(times, reverse=True))
    newer, older = items_of("two messages in one delivery")
    assert newer["events"][0]["occurrenceDatetime"] > older["events"][0]["occurrenceDatetime"]
    assert newer["tracker"] == older["tracker"]


def read(call: CheckRequest) -> list[Any]:
    try:
        return list(split(call.body))
    except Exception:  # what is no body of Ship24's
        return []


def tracker(latest: str, *events: tuple[str, str | None, str], **fields: Any) -> dict[str, Any]:
    """Return what the ops API answers: a tracker, and events as outcome, reason, status."""
    shown = [dict(zip(("outcome", "reason", "status"), each, strict=True)) for each in events]
    changes = sum(outcome == "applied" for outcome, _, _ in events)
    return {"tracker": {"latest_occurrence": latest, "changes": changes, **fields}, "events": shown}


APPLIED, OLDER = ("applied", None, "x"), ("stale", "older", "x")
WHOLE = [("applied", None, status) for status, _ in reversed(JOURNEY)]


@each_row(
    ("name", "answer", "fault"),
    [
        ("older after newer: the tracker", tracker(PARCELS.local(2), APPLIED, OLDER), None),
        (
            "older after newer: the tracker",
            tracker(PARCELS.local(48), APPLIED, APPLIED),
            "the latest event is at 2026-02-27T12:00:00 instead of 2026-03-01T10:00:00",
        ),
        (
            "older after newer: the tracker",
            tracker(PARCELS.local(2), APPLIED),
            "the timeline is applied instead of applied, stale (older)",
        ),
        (
            "time without a zone: the tracker",
            tracker(f"{PARCELS.local(30)}Z", APPLIED),
            "the latest event is at 2026-02-28T06:00:00Z instead of 2026-02-28T06:00:00",
        ),
        ("the same delivery again: the tracker", {**tracker(PARCELS.local(24), APPLIED, changes=3)}, "it changed 3 times"),
        ("nine events in one message: the tracker", tracker(PARCELS.local(1), *WHOLE, status_milestone="delivered"), None),
        (
            "nine events in one message: the tracker",
            tracker(PARCELS.local(1), *WHOLE[:8], status_milestone="delivered"),
            "8 events instead of 9, or another order",
        ),
        (
            "nine events in one message: the tracker",
            tracker(PARCELS.local(9), *WHOLE, status_milestone="in_transit"),
            "the latest event is in_transit at 2026-03-01T03:00:00",
        ),
        ("unknown words: the tracker", tracker("", status_milestone="pending"), "status_milestone is pending"),
        ("the same delivery in parallel: the message", {"outcome": "applied", "deliveries": [1] * 8}, None),
        ("the same delivery in parallel: the message", {"outcome": "applied", "deliveries": [1]}, "applied, in 1 delivery"),
        ("older after newer: the message", {"outcome": "applied", "deliveries": [1]}, "applied, in 1 delivery"),
        (
            "an invalid message among valid ones: the quarantine",
            {"items": [{"raw": PARCELS.number("unnamed"), "reason": "missing_message_id"}]},
            None,
        ),
        ("an invalid message among valid ones: the quarantine", {"items": []}, "not among the last 0"),
    ],
)
def test_end_states_are_compared_with_those_that_follow_from_the_requests(
    name: str, answer: dict[str, Any], fault: str | None
) -> None:
    (ending,) = [ending for ending in endings() if ending.rule.name == name]
    assert ending.find_fault(PARCELS, answer) == fault


def run(url: str, *names: str, token: Secret = TOKEN, ops: OpsAccess | None = None) -> list[CheckResult]:
    """Run single cases against a server."""
    cases = tuple(case for case in PLAN.cases if case.rule.name in names)
    check = Check(read_target(url), token, PARCELS, 15.0, ops)
    return check.run(CheckPlan(cases, (), PLAN.overall), lambda: None)


def test_concurrent_requests_overlap() -> None:
    all_here = Barrier(8, timeout=DEADLINE_SECONDS)

    def answer(call: endpoint.Call, wire: Wire) -> bool:
        all_here.wait()
        return say(200)(call, wire)

    with answering(answer) as told:
        result = run(told.url, "the same delivery in parallel")[0]
    assert (result.verdict, len(told.calls), len({call.body for call in told.calls})) == ("pass", 8, 1)


def test_one_connection_carries_the_requests_that_share_it() -> None:
    with answering() as told:
        result = run(told.url, "connection reused")[0]
        assert (result.verdict, [call.connection for call in told.calls]) == ("pass", [1, 1, 1])


def test_a_connection_that_is_closed_without_a_word_is_noticed() -> None:
    def close_behind(call: endpoint.Call, wire: Wire) -> bool:
        say(200)(call, wire)
        return False

    with answering(close_behind) as told:
        result, *overall = run(told.url, "connection reused")
    assert (result.verdict, result.seen) == ("warn", "kept open, then: the connection was closed without a response")
    assert [each.verdict for each in overall] == ["pass"] * 3


@each_row(
    "told",
    [
        "Bearer the-right-token",
        "THE-RIGHT-TOKEN",
        "dGhlLXJpZ2h0LXRva2Vu",
    ],
)
@each_row("place", ["body", "header"])
def test_a_token_that_is_repeated_in_any_form_is_noticed_and_never_shown(told: str, place: str) -> None:
    answer = say(500, body=told.encode()) if place == "body" else say(302, f"Location: /{told}")
    assert_repeated(answer, told.removeprefix("Bearer "), TOKEN)


@each_row(
    "told",
    [
        r"\"nötig\"/a<b&c",
        r"\"n\u00f6tig\"\/a<b&c",
        r"\"n\u00c3\u00b6tig\"/a<b&c",
        "&quot;nötig&quot;/a&lt;b&amp;c",
        "%22n%C3%B6tig%22%2Fa%3Cb%26c",
    ],
)
def test_a_token_of_odd_letters_is_noticed_as_other_languages_write_it(told: str) -> None:
    assert_repeated(say(500, body=told.encode()), told, Secret("odd", '"nötig"/a<b&c'))


def assert_repeated(answer: endpoint.Answer, told: str, token: Secret) -> None:
    with answering(answer) as server:
        results = run(server.url, "one message", token=token)
    (repeated,) = [result for result in results if result.rule.name == "no token repeated"]
    assert repeated.verdict == "fail"
    assert "[token]" in results[0].seen
    assert all(told not in result.seen for result in results)


def test_of_two_tokens_that_begin_alike_nothing_of_the_longer_is_shown() -> None:
    ops = OpsAccess(read_target("http://127.0.0.1:9"), Secret("ops", f"{TOKEN.reveal()}-and-more"))
    with answering(say(500, body=ops.token.reveal().encode())) as server:
        (result, *_) = run(server.url, "one message", ops=ops)
    assert result.seen == "500 [token]"


def test_a_short_ops_token_that_stands_in_an_answer_by_chance_is_no_repetition() -> None:
    ops = OpsAccess(read_target("http://127.0.0.1:9"), Secret("ops", "fine"))
    with answering(say(500)) as server:
        results = run(server.url, "one message", ops=ops)
    assert [result.verdict for result in results if result.rule.name == "no token repeated"] == ["pass"]
