"""The headers of one request, sorted by their use."""

from collections.abc import Iterable
from functools import lru_cache
from typing import NamedTuple

from receiver.access import probe
from receiver.access.refusal_causes import TOKEN_HEADERS
from receiver.sources.codings import list_codings

_TEST = probe.HEADER.encode()
_CREDENTIALS = {_TEST, b"authorization", b"cookie", *TOKEN_HEADERS}
_MAX_STORED_BYTES = 4096
_REDACTED = b"[secret]"
_KNOWN_VALUES = 512  # of headers, kept as they are stored: senders send few values again and again, but for the length
_MAX_KNOWN_BYTES = 200


class Headers(NamedTuple):
    """The headers of one request. `storable` has the pairs that may be stored: no credentials, no known secret, at most 4 KiB.

    `authorization` and `forwarded` have the values of all Authorization and X-Forwarded-For lines, in their order. `codings` are
    the content codings of the body (`sources/codings.py`). `test` is the value of the last header of
    a probe or a test (`probe.py`, `marks.py`).
    """

    authorization: tuple[bytes, ...]
    forwarded: tuple[str, ...]
    content_length: bytes | None
    codings: tuple[str, ...]
    storable: tuple[tuple[str, str], ...]
    test: bytes | None


class HeaderReader:
    """A reader of headers that removes `secrets` from everything that is stored, wherever a client put them."""

    def __init__(self, secrets: Iterable[str]) -> None:
        self._secrets = tuple(secret.encode() for secret in secrets if secret)
        self._show_known = lru_cache(_KNOWN_VALUES)(self._show)

    def read(self, pairs: Iterable[tuple[bytes, bytes]]) -> Headers:
        """Sort pairs of lower-case names and values."""
        authorization: list[bytes] = []
        forwarded: list[str] = []
        content_length = test = None
        encodings: list[bytes] = []
        storable: list[tuple[str, str]] = []
        bytes_left = _MAX_STORED_BYTES
        for name, value in pairs:
            if name in _CREDENTIALS:
                if name == b"authorization":
                    authorization.append(value)
                elif name == _TEST:
                    test = value
                continue
            if name == b"x-forwarded-for":
                forwarded.append(value.decode("latin-1"))
            elif name == b"content-length":
                content_length = value
            elif name == b"content-encoding":
                encodings.append(self._redact(value))
            bytes_left -= len(name) + len(value)
            if bytes_left >= 0:
                show = self._show if name == b"content-length" or len(value) > _MAX_KNOWN_BYTES else self._show_known
                storable.append(show(name, value))
        return Headers(tuple(authorization), tuple(forwarded), content_length, list_codings(encodings), tuple(storable), test)

    def redact(self, text: str) -> str:
        """Return a text without the known secrets in it."""
        return self._redact(text.encode()).decode()

    def _show(self, name: bytes, value: bytes) -> tuple[str, str]:
        """Return a pair as it is stored."""
        return name.decode("latin-1"), self._redact(value).decode("latin-1")

    def _redact(self, value: bytes) -> bytes:
        for secret in self._secrets:
            value = value.replace(secret, _REDACTED)
        return value
