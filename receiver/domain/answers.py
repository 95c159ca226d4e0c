"""Answers to senders, made from a receipt or from an error. Pure.

Ship24 stores our answer and shows it to its users. It treats a 2xx with `success: false` in the body as a failure (read in the
vendor's own code, 2026-09), so that key is never sent. Shiipp shows the whole body on its Logs page.
"""

from collections.abc import Mapping
from typing import Any

import orjson

from receiver.domain.records import Answer, Receipt
from receiver.domain.storable import make_storable
from receiver.domain.verdicts import OUTCOMES
from receiver.errors import ReceiverError

MAX_SHOWN = 100
"""Messages listed in an answer. The counts include all of them."""


def count_outcomes(receipt: Receipt) -> dict[str, int]:
    """Count the messages by outcome."""
    counts = dict.fromkeys(OUTCOMES, 0)
    for _, verdict in receipt.messages:
        counts[verdict.outcome] += 1
    return counts


def for_receipt(receipt: Receipt, counts: Mapping[str, int]) -> Answer:
    """Answer 200 with the verdict of each message, in body order."""
    return Answer(200, orjson.dumps(describe_receipt(receipt, counts)))


def describe_receipt(receipt: Receipt, counts: Mapping[str, int]) -> dict[str, Any]:
    """Return the content of the answer to a delivery that was decided."""
    messages: list[dict[str, Any]] = []
    answer = {"delivery_id": receipt.delivery_id, "received": len(receipt.messages), **counts, "messages": messages}
    for message_id, verdict in receipt.messages[:MAX_SHOWN]:
        message = {"message_id": message_id, "outcome": verdict.outcome}
        if verdict.reason is not None:
            message["reason"] = verdict.reason
        if verdict.detail is not None:
            message["detail"] = verdict.detail
        messages.append(message)
    return answer


def for_probe() -> Answer:
    """Answer 200 to a test request, which has no messages and is not recorded."""
    return Answer(200, b'{"test":true,"received":0}')


def for_error(error: ReceiverError, delivery_id: str | None) -> Answer:
    """Answer with the error's status and code, and `Retry-After` where repeating helps."""
    answer: dict[str, Any] = {"error": {"code": error.code, "message": make_storable(error.message)}}
    if delivery_id is not None:
        answer["delivery_id"] = delivery_id
    headers = error.headers
    if error.retry_after_seconds is not None:
        headers = (*headers, (b"retry-after", str(error.retry_after_seconds).encode()))
    return Answer(error.status, orjson.dumps(answer), headers)
