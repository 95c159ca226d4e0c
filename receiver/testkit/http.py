"""HTTP client of the test programs: one connection, one request after the other, bounded in time and bytes. No redirects."""

import asyncio
import socket
import ssl
import zlib
from collections.abc import AsyncIterator, Mapping
from time import monotonic
from types import TracebackType
from typing import Any, Literal, NamedTuple, Self

import aiohttp
import orjson
from yarl import URL

MAX_BODY_BYTES = 1_000_000
_MAX_BYTES = MAX_BODY_BYTES + 500_000  # with head and framing
_PIECE_BYTES = 65_536
_MIN_CONNECT_SECONDS = 10.0  # a busy machine may connect later than its user wants a response
_ANY_CODING = 32 + zlib.MAX_WBITS  # zlib detects gzip by itself

Problem = Literal["timeout", "connection", "certificate"]


class HttpReply(NamedTuple):
    """A response. `headers` have lower-case names; `seconds` is the time from the beginning of the request to its end.

    `is_cut`: the body was longer than MAX_BODY_BYTES. `closes`: the connection ends with this response.
    `repeats_token`: the response contained a token, which `check` has replaced.
    """

    status: int
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""
    seconds: float = 0.0
    is_cut: bool = False
    closes: bool = True
    repeats_token: bool = False

    def header(self, name: str) -> str | None:
        """Return the first header of this name."""
        return next((value for known, value in self.headers if known == name), None)


class NoReply(NamedTuple):
    """A request without a complete response. `reason` contains nothing that the server sent.

    `connected`: a connection was made. `was_kept`: it was one that the server had promised to keep after the request before.
    """

    reason: str
    seconds: float
    problem: Problem = "connection"
    connected: bool = True
    was_kept: bool = False


Reply = HttpReply | NoReply


def read_object(body: bytes) -> dict[str, Any] | None:
    """Return the JSON object in a body; None if the body is anything else."""
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError:
        return None
    return value if isinstance(value, dict) else None


class HttpClient:
    """Opens connections whose responses may take `seconds` each, and closes them all at its end."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._trust = ssl.create_default_context()  # once: reading the system's certificates takes longer than a request
        self._connections: list[HttpConnection] = []

    def connect(self, source: str | None = None) -> "HttpConnection":
        """Return a new connection, from an address of this machine if one is given."""
        connection = HttpConnection(self._seconds, self._trust, source)
        self._connections.append(connection)
        return connection

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        for connection in self._connections:
            await connection.close()


class HttpConnection:
    """A connection to one server. The first request opens it; it serves the next ones as long as the server keeps it.

    A connection that the server promised to keep is never replaced silently: if it has ended, the next request fails.
    """

    def __init__(self, seconds: float, trust: ssl.SSLContext, source: str | None) -> None:
        self._seconds = seconds
        self._connect_seconds = max(seconds, _MIN_CONNECT_SECONDS)
        self._socket: BoundedSocket | None = None
        self._is_kept = False
        self._is_connected = False
        self._limit = asyncio.timeout(None)
        trace = aiohttp.TraceConfig()
        trace.on_connection_create_end.append(self._note_connected)
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                ssl=trust,
                limit=1,
                keepalive_timeout=None,  # the server decides how long a connection lives
                local_addr=None if source is None else (source, 0),
                happy_eyeballs_delay=None,
                socket_factory=self._make_socket,
                resolver=aiohttp.ThreadedResolver(),
            ),
            auto_decompress=False,
            cookie_jar=aiohttp.DummyCookieJar(),
            skip_auto_headers=("accept", "accept-encoding", "user-agent"),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=None),
            trace_configs=[trace],
        )

    async def call(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes | AsyncIterator[bytes] | None = None
    ) -> Reply:
        """Send a request; return the response, or the reason why there is none."""
        began, was_kept = monotonic(), self._is_kept
        self._is_connected = was_kept
        if self._socket is not None:
            self._socket.left_bytes = _MAX_BYTES
        try:
            async with asyncio.timeout(self._seconds if was_kept else self._connect_seconds) as self._limit:
                reply = await self._exchange(method, url, headers, body)
        except (aiohttp.ClientError, OSError, ValueError) as error:
            self._is_kept = False
            reason, problem = self._explain(error)
            return NoReply(reason, monotonic() - began, problem, self._is_connected, was_kept)
        self._is_kept = not reply.closes
        return reply._replace(seconds=monotonic() - began)

    async def close(self) -> None:
        """Close the connection. A request under way fails."""
        await self._session.close()

    async def _exchange(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes | AsyncIterator[bytes] | None
    ) -> HttpReply:
        response = await self._session.request(method, URL(url, encoded=True), headers=headers, data=body, allow_redirects=False)
        try:
            content = await _read_body(response.content)
        finally:
            response.close()  # a connection whose body was read to its end was given back before
        read = tuple((name.decode("latin-1").lower(), value.decode("latin-1")) for name, value in response.raw_headers)
        closes = _closes(method, response) or len(content) > MAX_BODY_BYTES
        content = _decompress(content, response.headers.get("content-encoding", ""))
        return HttpReply(response.status, read, content, 0.0, len(content) > MAX_BODY_BYTES, closes)

    def _make_socket(self, info: aiohttp.AddrInfoType) -> socket.socket:
        if self._is_connected:  # the connection of this request has ended, and the library tries another one
            raise ConnectionResetError
        self._socket = BoundedSocket(*info[:3])
        return self._socket

    async def _note_connected(self, _session: object, _context: object, _parameters: object) -> None:
        self._is_connected = True
        self._limit.reschedule(asyncio.get_running_loop().time() + self._seconds)

    def _explain(self, error: Exception) -> tuple[str, Problem]:
        """Return what went wrong, without anything that the server sent."""
        if isinstance(error, TimeoutError):
            if not self._is_connected:
                return f"no connection within {self._connect_seconds:g} s", "timeout"
            return f"no complete response within {self._seconds:g} s", "timeout"
        if isinstance(error, aiohttp.ClientConnectorCertificateError):
            reason = getattr(error.certificate_error, "verify_message", "")
            return f"the certificate is not valid ({reason})", "certificate"
        if self._socket is not None and self._socket.left_bytes <= 0:
            return f"more than {_MAX_BYTES // 1000} kB received without an end of the response", "connection"
        cause = error.os_error if isinstance(error, aiohttp.ClientConnectorError) else error
        return next(text for kinds, text in _FAULTS if isinstance(cause, kinds) or isinstance(error, kinds)), "connection"


_FAULTS: tuple[tuple[type[Exception] | tuple[type[Exception], ...], str], ...] = (  # the first one that fits
    (ConnectionRefusedError, "connection refused"),
    ((aiohttp.ClientConnectorDNSError, UnicodeError, aiohttp.InvalidURL), "unknown host name"),
    ((aiohttp.ClientSSLError, ssl.SSLError), "no TLS connection: the server may not speak TLS"),
    (ConnectionError, "the connection was closed without a response"),
    (aiohttp.ClientConnectorError, "no connection"),
    (aiohttp.ClientPayloadError, "the connection was closed within the response"),
    (aiohttp.ClientConnectionError, "the connection was closed without a response"),
    (Exception, "the response is not valid HTTP"),
)


class BoundedSocket(socket.socket):
    """A socket that yields `left_bytes` bytes and then fails, whatever the other side sends."""

    left_bytes = _MAX_BYTES

    def recv(self, size: int, flags: int = 0, /) -> bytes:
        """Receive up to `size` bytes. Raises ConnectionError where none are left."""
        data = super().recv(self._limit(size), flags)
        self.left_bytes -= len(data)
        return data

    def recv_into(self, buffer: Any, size: int = 0, flags: int = 0) -> int:
        """Receive into a buffer. Raises ConnectionError where no bytes are left."""
        received = super().recv_into(buffer, self._limit(size or len(buffer)), flags)
        self.left_bytes -= received
        return received

    def _limit(self, size: int) -> int:
        if self.left_bytes <= 0:
            raise ConnectionAbortedError
        return min(size, self.left_bytes)


async def _read_body(content: aiohttp.StreamReader) -> bytes:
    """Return a body as it was sent; of a longer one, its first bytes, one more than MAX_BODY_BYTES."""
    body = bytearray()
    while len(body) <= MAX_BODY_BYTES and (piece := await content.read(_PIECE_BYTES)):
        body += piece
    return bytes(body[: MAX_BODY_BYTES + 1])


def _closes(method: str, response: aiohttp.ClientResponse) -> bool:
    """Return whether a response announces the end of its connection (RFC 9112, 9.3), or can only end with it."""
    connection = response.headers.get("connection", "").lower()
    is_persistent = "close" not in connection if response.version == aiohttp.HttpVersion11 else "keep-alive" in connection
    is_framed = "content-length" in response.headers or "chunked" in response.headers.get("transfer-encoding", "").lower()
    return not is_persistent or not (is_framed or method == "HEAD" or response.status in {204, 304})


def _decompress(body: bytes, coding: str) -> bytes:
    """Return a compressed body decompressed, as far as it is looked at; a broken one as it is."""
    if coding.strip().lower() not in {"gzip", "deflate"}:
        return body
    try:
        return zlib.decompressobj(_ANY_CODING).decompress(body, MAX_BODY_BYTES + 1)
    except zlib.error:
        return body
