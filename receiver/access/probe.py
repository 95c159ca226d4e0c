"""Probes: test requests of `receiver doctor` to the webhook paths. They are answered like deliveries and not recorded. Pure.

A probe has the header `x-receiver-test`: the minute in which it was made, and an HMAC-SHA256 of path, minute and Authorization
header. The key is derived from an ops token; the header does not reveal the token.

Nobody can hide messages or guesses with it:

- Without an ops token nobody can make the header. A request with a wrong or an old header is recorded like any other.
- A copied header works for some minutes, with the same path and bearer token only. Guesses at tokens are recorded.
- The answer is 200 only if the body has no messages. If a proxy adds the header to a sender's request, the sender gets a 422 and
  knows that its messages were not stored.
"""

import hmac
import re
from collections.abc import Sequence
from datetime import datetime

from receiver.access.bearer import Secret

HEADER = "x-receiver-test"
ACCEPTED = "accepted"
"""The value of this header in the answer to HEAD if the probe was accepted."""

_PURPOSE = b"receiver probe"  # other keys are derived from ops tokens too
_MAX_MINUTES = 5
_VALUE = re.compile(rb"([0-9]{1,10})\.([0-9a-f]{64})")


def sign_probe(token: Secret, path: str, authorization: Sequence[bytes], now: datetime) -> str:
    """Return the header's value. `authorization` are the values of all Authorization headers of the request."""
    minute = _minute_of(now)
    return f"{minute}.{_sign(token, path, authorization, minute)}"


def is_probe(tokens: Sequence[Secret], path: str, authorization: Sequence[bytes], value: bytes | None, now: datetime) -> bool:
    """Tell whether the value was made with one of these ops tokens for this request, at most five minutes before or after now."""
    found = _VALUE.fullmatch(value) if value is not None else None
    if found is None or abs(int(found[1]) - _minute_of(now)) > _MAX_MINUTES:
        return False
    expected = (_sign(token, path, authorization, int(found[1])) for token in tokens)
    return any(hmac.compare_digest(signature, found[2].decode()) for signature in expected)


def _sign(token: Secret, path: str, authorization: Sequence[bytes], minute: int) -> str:
    key = hmac.digest(token.reveal().encode(), _PURPOSE, "sha256")
    signed = b"\n".join([path.encode(), str(minute).encode(), *authorization])
    return hmac.new(key, signed, "sha256").hexdigest()


def _minute_of(now: datetime) -> int:
    return int(now.timestamp()) // 60
