"""Marks on what the test programs send, so that this service knows it as a test (`receiver/access/marks.py`)."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import NamedTuple

from receiver.access import marks
from receiver.access.bearer import Secret
from receiver.errors import ReceiverError
from receiver.testkit.http import HttpConnection, HttpReply, Reply


class NotMarked(ReceiverError):
    """The receiver does not take what is sent for a test."""

    def __init__(self) -> None:
        super().__init__(
            "The receiver does not confirm that this is a test: the ops token is not one of its own, its clock is more than an "
            "hour off, a proxy removes the header x-receiver-test, or it is another program. Nothing more is sent. With "
            "--unmarked it is sent as real messages, which reach the targets."
        )


class Marker(NamedTuple):
    """Makes the marks of one run. `hands_on`: targets get its changes."""

    token: Secret
    source: str
    run: str
    hands_on: bool

    def headers(self, authorization: Sequence[str], body: bytes) -> dict[str, str]:
        """Return the header with the mark. `authorization` are the values of the Authorization headers."""
        sent = [value.encode("latin-1", "replace") for value in authorization]
        now = datetime.now(UTC)
        return {marks.HEADER: marks.sign_mark(self.token, self.source, sent, body, self.run, now, hands_on=self.hands_on)}


def is_confirmed(reply: Reply) -> bool:
    """Tell whether a response confirms the mark of its request."""
    return isinstance(reply, HttpReply) and reply.header(marks.HEADER) == marks.ACCEPTED


def is_taken_as_real(marker: Marker | None, reply: Reply) -> bool:
    """Tell whether a marked delivery succeeded without a confirmation: the receiver took it for a real one."""
    return marker is not None and isinstance(reply, HttpReply) and 200 <= reply.status < 300 and not is_confirmed(reply)


async def ask(connection: HttpConnection, url: str, headers: dict[str, str], marker: Marker) -> Reply:
    """Send HEAD with a mark and return the response. Raises NotMarked if there is one and it does not confirm the mark.

    HEAD stores nothing, so no message is sent in vain.
    """
    reply = await connection.call("HEAD", url, {**headers, **marker.headers([], b"")})
    if isinstance(reply, HttpReply) and not is_confirmed(reply):
        raise NotMarked
    return reply
