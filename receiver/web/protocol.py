"""HTTP/1.1 on one connection: uvicorn's protocol on httptools, with size and time limits and stricter framing rules.

Bytes are parsed in small pieces, and not at all while a request waits behind another one: pipelined bytes fill the connection's
own buffer and cost the event loop no time. Beyond a slice, connections take turns. Rules: RFC 9110, 7.8 (Upgrade), 6.5
(trailers); RFC 9112, 6 (message body).
"""

import asyncio
from typing import Any

import httptools
from starlette.types import Scope
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from receiver.domain import answers
from receiver.errors import BadRequest, BodyIncomplete, HeadersTooLarge, ReceiverError
from receiver.web.closing import LingeringTransport
from receiver.web.parsing import ParsingQueue
from receiver.web.responses import list_headers
from receiver.web.safety import secure

MAX_HEAD_BYTES = 32 * 1024
_PIECE_BYTES = 2048  # parsed at once: at most some hundred requests in one piece
_SLICE_BYTES = 2 * _PIECE_BYTES  # parsed in one go: most requests whole, and about a millisecond of header lines
_REFUSAL = "refusal"  # in the scope's state: the error to answer to a request with wrong framing


class BoundedProtocol(HttpToolsProtocol):
    """Bounds the size of a request's head and the time for the whole request; ignores upgrades; answers wrong framing in JSON.

    The state of the request that is being parsed:

    in_head   incomplete   meaning
    yes       yes          its head is being parsed, or the connection has just begun
    no        yes          its body is being parsed
    yes       no           no request has begun since the last one, or `refused` in a head
    no        no           `refused` in a body, or the connection is lost

    `refused` is final. `repeating` is only true inside `_ignore_upgrade`, while a new parser reads the framing again.
    `in_queue` tells that unread bytes wait for the turn of this connection. `is_at_end` goes with any state: the peer sends
    nothing more. The fields `..._in_piece` are about the piece that is being fed.
    """

    request_timeout_seconds: float
    parsing: ParsingQueue
    transport: LingeringTransport

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._incomplete = True  # at first, because the first request may never begin
        self._deadline: asyncio.TimerHandle | None = None
        self._unread = b""
        self._in_queue = False
        self._is_at_end = False  # the peer sends nothing more
        self._overhead_bytes = 0  # since the last byte of a body, or the end of a head or message
        self._in_head = True
        self._request_ended_in_piece = False
        self._head_begins_in_piece = False  # so that `_overhead_bytes` does not count the whole head
        self._repeating = False
        self._refused = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Wait for the first request."""
        super().connection_made(transport)
        self.flow = _HeldFlow(transport)
        self.transport = LingeringTransport(transport, self.loop)
        self._bound_time()

    def connection_lost(self, exc: Exception | None) -> None:
        """Cancel the deadline."""
        self.transport.has_input = False
        self.transport.cancel_timers()
        super().connection_lost(exc)
        self._unread = b""
        self._incomplete = False
        self._bound_time()

    def data_received(self, data: bytes) -> None:
        """Parse as far as allowed now; keep the deadline while a request is incomplete."""
        if self.transport.is_lingering:
            self.transport.discard(data)
        if self._refused or self.transport.is_lingering:
            return
        self._unread = self._unread + data if self._unread else data
        self._advance()

    def eof_received(self) -> bool:  # type: ignore[override]
        """Return whether the connection stays open: the peer sends nothing more, but may wait for answers."""
        self._is_at_end = True
        return self._is_answering()

    def on_response_complete(self) -> None:
        """Continue with pipelined bytes; close the connection after the last answer if the peer sends nothing more."""
        super().on_response_complete()
        if self._unread and not self.transport.is_closing():
            self._advance()
        if self._is_at_end and not self._is_answering():
            self.transport.close()

    def _is_answering(self) -> bool:
        """Return whether a complete request waits for its answer; the last one may never become complete."""
        is_pending = self.cycle is not None and not self.cycle.response_complete and not self.transport.is_closing()
        return is_pending and (bool(self.pipeline) or self._in_head)

    def _advance(self) -> None:
        self._unset_keepalive_if_required()
        unread, start = self._unread, 0
        while start < min(len(unread), _SLICE_BYTES) and not self.pipeline and not self._refused:
            room = MAX_HEAD_BYTES - self._overhead_bytes
            if room <= 0:
                self._refuse(HeadersTooLarge(f"Expected a request head of at most {MAX_HEAD_BYTES} bytes in all."))
                break
            piece = unread[start : start + min(_PIECE_BYTES, room)]
            start += self._feed(piece)
        self._unread = b"" if self._refused else unread[start:]
        self.transport.has_input = self._refused or self._incomplete or bool(self._unread)
        self._hold(held=bool(self._unread) or self._refused)
        self._bound_time()
        if self._unread and not self.pipeline and not self._in_queue:
            self._in_queue = True
            self.parsing.put(self.loop, self._advance_in_turn)

    def _advance_in_turn(self) -> None:
        self._in_queue = False
        if self._unread and not self.transport.is_closing():
            self._advance()

    def _feed(self, piece: bytes) -> int:
        """Parse a piece; return the number of parsed bytes."""
        self._overhead_bytes += len(piece)
        self._request_ended_in_piece = False
        try:
            self.parser.feed_data(piece)
        except httptools.HttpParserUpgrade as offer:
            self._ignore_upgrade()
            return int(offer.args[0])
        except httptools.HttpParserError as error:
            cause = error.__context__
            self._refuse(cause if isinstance(cause, ReceiverError) else BadRequest(_explain(error)))
        else:
            self._incomplete |= self._overhead_bytes > 0
        return len(piece)

    def _ignore_upgrade(self) -> None:
        """Parse the body that follows. The parser takes it for another protocol, so a new parser reads the framing again."""
        framing = [(name, value) for name, value in self.headers if name in {b"content-length", b"transfer-encoding"}]
        lines = [b"POST / HTTP/1.1", *(name + b": " + value for name, value in framing), b"\r\n"]
        self.parser = httptools.HttpRequestParser(self)
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)  # as uvicorn does
        self._repeating = True
        self.parser.feed_data(b"\r\n".join(lines))

    # Callbacks of the parser

    def on_message_begin(self) -> None:
        """Begin a request, perhaps in the piece that ended the previous one. It has its own deadline."""
        if self._repeating:
            return
        self._in_head = self._incomplete = True
        self._head_begins_in_piece = self._request_ended_in_piece
        self._cancel_deadline()
        super().on_message_begin()

    def on_url(self, url: bytes) -> None:
        """Add a piece of the request target."""
        if not self._repeating:
            super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Add a header; ignore trailers."""
        if self._in_head and not self._repeating:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """Start the application. Raises HeadersTooLarge or BadRequest."""
        self._overhead_bytes = 0
        if self._repeating:
            self._repeating = False
            return
        if self._head_begins_in_piece and self._count_head() > MAX_HEAD_BYTES:
            raise HeadersTooLarge(f"Expected a request head of at most {MAX_HEAD_BYTES} bytes in all.")
        codings = [value.strip().lower() for name, value in self.headers if name == b"transfer-encoding"]
        if codings not in ([], [b"chunked"]):
            raise BadRequest("Expected no transfer coding but `chunked`.")
        if self.parser.get_http_version() == "1.0":  # its clients do not know status 100 (RFC 9110, 10.1.1)
            self.expect_100_continue = False
        super().on_headers_complete()
        self._in_head = False
        if self.expect_100_continue:  # if refused, the client may send the body or not: the next request may begin anywhere
            self.cycle.keep_alive = False

    def on_body(self, body: bytes) -> None:
        """Add a piece of the body."""
        self._overhead_bytes = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        """Complete a request, unless the parser believes that another protocol follows."""
        if self.parser.should_upgrade():
            return
        self._incomplete = False
        self._in_head = self._request_ended_in_piece = True  # the next bytes belong to the next request
        self._overhead_bytes = 0
        super().on_message_complete()

    def _count_head(self) -> int:
        lines = sum(len(name) + len(value) + len(": \r\n") for name, value in self.headers)
        return len(self.parser.get_method()) + len(self.url) + len("  HTTP/1.1\r\n\r\n") + lines

    # Refusing

    def _refuse(self, error: ReceiverError) -> None:
        """Parse nothing more. Answer the error after earlier requests are answered, and close."""
        self._refused = self.transport.has_input = True
        self._incomplete = False
        if self._in_head:
            self._begin_refused(error)
        elif self.pipeline:  # its body is invalid, and it waits for the previous request
            self.cycle.scope["state"][_REFUSAL] = error
            self.cycle.keep_alive = False
        elif not self.cycle.response_started:
            self._answer(error if isinstance(error, HeadersTooLarge) else BodyIncomplete(error.message))
        else:
            self.transport.close()

    def _begin_refused(self, error: ReceiverError) -> None:
        """Pass the known part of the request to the application, which records and answers it."""
        if self.scope is None or (self.cycle is not None and self.scope is self.cycle.scope):
            super().on_message_begin()  # no byte of this request was parsed
        self.scope["state"][_REFUSAL] = error
        self.url = _readable(self.url)
        super().on_headers_complete()
        self.cycle.keep_alive = False
        self.cycle.more_body = False
        self.cycle.message_event.set()

    def _answer(self, error: ReceiverError) -> None:
        """Answer in place of an application that waits for the rest of a body, and tell it that the client has disconnected."""
        answer = answers.for_error(error, None)
        lines = [name + b": " + value + b"\r\n" for name, value in secure(self.scope["path"], list_headers(answer))]
        self.transport.write(b"".join([STATUS_LINE[answer.status], *lines, b"\r\n", answer.body]))
        self.transport.close()
        self.cycle.disconnected = True
        self.cycle.message_event.set()

    # Time

    def _hold(self, *, held: bool) -> None:
        """Stop reading from the connection while there are bytes that cannot be parsed yet."""
        assert isinstance(self.flow, _HeldFlow)
        if self.transport.is_lingering:
            return
        self.flow.held = held
        if held:
            self.flow.pause_reading()
        elif self.cycle is None or self.cycle.response_complete:
            self.flow.resume_reading()

    def _bound_time(self) -> None:
        if self._incomplete and self._deadline is None:
            self._deadline = self.loop.call_later(self.request_timeout_seconds, self.transport.abort)
        elif not self._incomplete:
            self._cancel_deadline()

    def _cancel_deadline(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None


class _HeldFlow(FlowControl):
    """A flow control that does not resume reading while it is `held`."""

    held = False

    def resume_reading(self) -> None:
        """Read again, unless held."""
        if not self.held:
            super().resume_reading()


def find_refusal(scope: Scope) -> ReceiverError | None:
    """Return the error to answer to a request with wrong framing, or None."""
    error = scope["state"].get(_REFUSAL) if scope["type"] == "http" else None
    return error if isinstance(error, ReceiverError) else None


def _readable(url: bytes) -> bytes:
    """Return the request target if it can be parsed, else `/`."""
    try:
        return url if httptools.parse_url(url).path else b"/"
    except httptools.HttpParserError:
        return b"/"


def _explain(error: httptools.HttpParserError) -> str:
    """Return the parser's message, which quotes no input; messages of our own callbacks would."""
    reason = "Expected a path or a URL" if error.__context__ is not None else str(error)
    return f"Not a valid HTTP/1.1 request. {reason}."
