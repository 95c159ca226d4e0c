"""Test marks: deliveries of `receiver simulate` and `receiver check` say that they are tests. Pure.

A mark is a value of the header `x-receiver-test`: the run of the test, the end of the mark, whether targets get the changes, the
SHA-256 of the body, and an HMAC-SHA256 of all that with the source and the Authorization header. The key is derived from an ops
token, and the token cannot be found from the header. The answer to a marked delivery has the header too. A tool stops at the
first answer without it, before it has sent a hundred messages that look real.

Nobody else can hide messages or guesses with it:

- Without an ops token nobody can make a mark; a webhook token is not enough. Whoever has one could erase messages anyway.
- A mark counts for one body and one bearer token only. A proxy that adds a copied mark to other requests marks nothing, and
  guesses at tokens are recorded as guesses.
- A wrong, old or unreadable mark hides nothing: the delivery is a real one, and the answer does not confirm the mark.
- The copy of a whole request repeats a test, nothing else, and only until the mark is old.
- The messages of a test stay apart from real ones, whatever its body contains (`receiver/domain/confinement.py`).
"""

import hmac
import re
from collections.abc import Sequence
from datetime import datetime
from hashlib import sha256
from typing import NamedTuple

from receiver.access import probe
from receiver.access.bearer import Secret

HEADER = probe.HEADER
ACCEPTED = probe.ACCEPTED
"""The value of this header in the answer to a delivery whose mark was accepted."""

VALID_SECONDS = 3600
"""From the making of a mark to its end. The sender's clock may differ by as much."""

_PURPOSE = b"receiver test mark"  # other keys are derived from ops tokens too
_VALUE = re.compile(rb"run=([0-9a-f]{8}); until=([0-9]{1,11}); hand-on=(yes|no); body=([0-9a-f]{64}); sign=([0-9a-f]{64})")


class MarkedTest(NamedTuple):
    """The content of a mark: the run of the test, eight hexadecimal digits; whether targets get its changes; the digest of the
    body."""

    run: str
    hands_on: bool
    body_digest: str

    def covers(self, body: bytes) -> bool:
        """Tell whether the mark was made for this body."""
        return sha256(body).hexdigest() == self.body_digest


def sign_mark(
    token: Secret, source: str, authorization: Sequence[bytes], body: bytes, run: str, now: datetime, *, hands_on: bool
) -> str:
    """Return the header's value. `authorization` are the values of all Authorization headers of the request."""
    until = int(now.timestamp()) + VALID_SECONDS
    content = f"run={run}; until={until}; hand-on={'yes' if hands_on else 'no'}; body={sha256(body).hexdigest()}"
    return f"{content}; sign={_sign(token, source, authorization, content.encode())}"


def read_mark(
    tokens: Sequence[Secret], source: str, authorization: Sequence[bytes], value: bytes, now: datetime
) -> MarkedTest | None:
    """Return the content of a mark that was made with one of these ops tokens for such a request and still counts.

    The caller compares the body. Compares with every token, so that the time says nothing about a match.
    """
    found = _VALUE.fullmatch(value)
    if found is None:
        return None
    content = value.rpartition(b"; sign=")[0]
    expected = [_sign(token, source, authorization, content).encode() for token in tokens]
    matches = [hmac.compare_digest(signature, found[5]) for signature in expected]
    if not any(matches) or not 0 < int(found[2]) - now.timestamp() <= 2 * VALID_SECONDS:
        return None
    return MarkedTest(found[1].decode(), found[3] == b"yes", found[4].decode())


def _sign(token: Secret, source: str, authorization: Sequence[bytes], content: bytes) -> str:
    key = hmac.digest(token.reveal().encode(), _PURPOSE, "sha256")
    return hmac.new(key, b"\n".join([source.encode(), content, *authorization]), "sha256").hexdigest()
