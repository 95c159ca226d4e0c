"""Answers to webhooks, as the sender reads them."""

import orjson

from receiver import errors
from receiver.domain.answers import MAX_SHOWN, count_outcomes, for_error, for_receipt
from receiver.domain.records import Answer, Receipt
from receiver.domain.verdicts import OUTCOMES, Verdict
from receiver.errors import ReceiverError
from tests.harness.table import each_row

DELIVERY_ID = "0192f3a1-7c42-7d10-8f6e-3b1c5d9a2e47"


def answer(*messages: tuple[str | None, Verdict]) -> Answer:
    receipt = Receipt(DELIVERY_ID, messages)
    return for_receipt(receipt, count_outcomes(receipt))


def test_the_answer_is_that_of_the_contract() -> None:
    given = answer(("356a", Verdict("applied")), ("356b", Verdict("applied")), ("248e", Verdict("stale", "older")))
    assert given == Answer(
        200,
        b'{"delivery_id":"0192f3a1-7c42-7d10-8f6e-3b1c5d9a2e47","received":3,'
        b'"applied":2,"stale":1,"duplicate":0,"recorded":0,"quarantined":0,'
        b'"messages":[{"message_id":"356a","outcome":"applied"},{"message_id":"356b","outcome":"applied"},'
        b'{"message_id":"248e","outcome":"stale","reason":"older"}]}',
    )


def test_a_quarantined_message_says_what_was_expected() -> None:
    given = orjson.loads(answer((None, Verdict("quarantined", "not_an_object", "It must be an object."))).body)
    assert given["messages"] == [
        {"message_id": None, "outcome": "quarantined", "reason": "not_an_object", "detail": "It must be an object."}
    ]


def test_no_messages_are_an_answer_too() -> None:
    assert orjson.loads(answer().body) == {
        "delivery_id": DELIVERY_ID,
        "received": 0,
        **dict.fromkeys(OUTCOMES, 0),
        "messages": [],
    }


@each_row("received", [MAX_SHOWN - 1, MAX_SHOWN, MAX_SHOWN + 1, 1000])
def test_messages_are_cut_at_100_in_body_order_and_the_counts_are_whole(received: int) -> None:
    outcomes = [OUTCOMES[place % len(OUTCOMES)] for place in range(received)]
    given = orjson.loads(answer(*((f"m{place}", Verdict(outcome)) for place, outcome in enumerate(outcomes))).body)
    assert [shown["message_id"] for shown in given["messages"]] == [f"m{place}" for place in range(min(received, 100))]
    assert given["received"] == sum(given[outcome] for outcome in OUTCOMES) == received
    assert {outcome: given[outcome] for outcome in OUTCOMES} == {outcome: outcomes.count(outcome) for outcome in OUTCOMES}


def _subclasses(root: type[ReceiverError]) -> list[type[ReceiverError]]:
    return [root, *(found for child in root.__subclasses__() for found in _subclasses(child))]


EVERY_ERROR = sorted(
    (error for error in _subclasses(ReceiverError) if error.__module__ == errors.__name__), key=lambda error: error.__name__
)


@each_row(
    ("error", "status", "code", "headers"),
    [
        (errors.InvalidJson, 400, "invalid_json", ()),
        (errors.Unauthorized, 401, "unauthorized", ((b"www-authenticate", b"Bearer"),)),
        (errors.AddressNotAllowed, 403, "address_not_allowed", ()),
        (errors.NotFound, 404, "not_found", ()),
        (errors.BodyTooLarge, 413, "body_too_large", ((b"connection", b"close"),)),
        (errors.UnexpectedShape, 422, "unexpected_shape", ()),
        (errors.Busy, 503, "busy", ((b"retry-after", b"5"),)),
        (errors.StorageUnavailable, 503, "storage_unavailable", ((b"retry-after", b"30"),)),
    ],
)
def test_an_error_is_that_of_the_contract(
    error: type[ReceiverError], status: int, code: str, headers: tuple[tuple[bytes, bytes], ...]
) -> None:
    given = for_error(error("Expected something else."), DELIVERY_ID)
    body = f'{{"error":{{"code":"{code}","message":"Expected something else."}},"delivery_id":"{DELIVERY_ID}"}}'
    assert given == Answer(status, body.encode(), headers)


def test_a_method_that_is_not_allowed_is_405() -> None:
    assert for_error(errors.MethodNotAllowed("Expected POST."), DELIVERY_ID).status == 405


def test_an_error_without_a_delivery_names_none() -> None:
    assert orjson.loads(for_error(errors.NotFound("Nothing here."), None).body) == {
        "error": {"code": "not_found", "message": "Nothing here."}
    }


@each_row("error", EVERY_ERROR)
def test_only_an_answer_that_invites_a_repetition_says_when(error: type[ReceiverError]) -> None:
    names = [name for name, _ in for_error(error("No."), DELIVERY_ID).headers]
    assert (b"retry-after" in names) == (error.status in {429, 503})
    assert (b"www-authenticate" in names) == (error.status == 401)


@each_row("error", EVERY_ERROR)
def test_no_error_is_a_success(error: type[ReceiverError]) -> None:
    given = for_error(error("No."), DELIVERY_ID)
    assert given.status >= 400
    assert b"success" not in given.body


@each_row("outcome", OUTCOMES)
def test_there_is_never_a_key_success(outcome: str) -> None:
    given = orjson.loads(answer(("m", Verdict(outcome, "reason", "detail"))).body)
    assert "success" not in given.keys() | given["messages"][0].keys()
