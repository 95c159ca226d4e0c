"""The headers of one call, sorted by what they are for."""

from collections.abc import Iterable
from typing import NamedTuple

from receiver.access import probe
from receiver.sources.codings import list_codings

_PROBE = probe.HEADER.encode()
_CREDENTIALS = {_PROBE, b"authorization", b"proxy-authorization", b"cookie", b"x-api-key", b"x-auth-token"}
_MAX_KEPT_BYTES = 4096
_STRUCK_OUT = b"[secret]"


class Headers(NamedTuple):
    """`kept` are the pairs that may be written down: no credentials, no known secret in a value, bounded in size.

    `codings` are those of the body (`receiver/sources/codings.py`). `probe` is the value of the last header that would make it a
    probe.
    """

    authorization: tuple[bytes, ...]
    forwarded: tuple[str, ...]
    content_length: bytes | None
    codings: tuple[str, ...]
    kept: tuple[tuple[str, str], ...]
    probe: bytes | None


class HeaderReader:
    """Reads headers; `secrets` are struck out of what is kept, wherever a caller put them."""

    def __init__(self, secrets: Iterable[str]) -> None:
        self._secrets = tuple(secret.encode() for secret in secrets if secret)

    def read(self, pairs: Iterable[tuple[bytes, bytes]]) -> Headers:
        """Sort the lower-case names and values of one call."""
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
                encodings.append(self._strike(value))
            left -= len(name) + len(value)
            if left >= 0:
                kept.append((name.decode("latin-1"), self._strike(value).decode("latin-1")))
        return Headers(tuple(authorization), tuple(forwarded), content_length, list_codings(encodings), tuple(kept), probe_value)

    def strike(self, text: str) -> str:
        """Return a text without the secrets in it."""
        return self._strike(text.encode()).decode()

    def _strike(self, value: bytes) -> bytes:
        for secret in self._secrets:
            if secret in value:
                value = value.replace(secret, _STRUCK_OUT)
        return value
