"""The headers of one request, sorted by their use."""

from collections.abc import Iterable
from typing import NamedTuple

from receiver.access import probe
from receiver.sources.codings import list_codings

_PROBE = probe.HEADER.encode()
_CREDENTIALS = {_PROBE, b"authorization", b"proxy-authorization", b"cookie", b"x-api-key", b"x-auth-token"}
_MAX_KEPT_BYTES = 4096
_REDACTED = b"[secret]"


class Headers(NamedTuple):
    """The headers of one request. `kept` has the pairs that may be stored: no credentials, no known secret, bounded in size.

    `codings` are the content codings of the body (`receiver/sources/codings.py`). `probe` is the value of the last probe header.
    """

    authorization: tuple[bytes, ...]
    forwarded: tuple[str, ...]
    content_length: bytes | None
    codings: tuple[str, ...]
    kept: tuple[tuple[str, str], ...]
    probe: bytes | None


class HeaderReader:
    """A reader of headers that removes `secrets` from everything that is stored, wherever a client put them."""

    def __init__(self, secrets: Iterable[str]) -> None:
        self._secrets = tuple(secret.encode() for secret in secrets if secret)

    def read(self, pairs: Iterable[tuple[bytes, bytes]]) -> Headers:
        """Sort pairs of lower-case names and values."""
        authorization: list[bytes] = []
        forwarded: list[str] = []
        content_length = probe_value = None
        encodings: list[bytes] = []
        kept: list[tuple[str, str]] = []
        left = _MAX_KEPT_BYTES
        for name, value in pairs:
            if name in _CREDENTIALS:
                if name == b"authorization":
                    authorization.append(value)
                elif name == _PROBE:
                    probe_value = value
                continue
            if name == b"x-forwarded-for":
                forwarded.append(value.decode("latin-1"))
            elif name == b"content-length":
                content_length = value
            elif name == b"content-encoding":
                encodings.append(self._redact(value))
            left -= len(name) + len(value)
            if left >= 0:
                kept.append((name.decode("latin-1"), self._redact(value).decode("latin-1")))
        return Headers(tuple(authorization), tuple(forwarded), content_length, list_codings(encodings), tuple(kept), probe_value)

    def redact(self, text: str) -> str:
        """Return a text without the known secrets in it."""
        return self._redact(text.encode()).decode()

    def _redact(self, value: bytes) -> bytes:
        for secret in self._secrets:
            value = value.replace(secret, _REDACTED)
        return value
