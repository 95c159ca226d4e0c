"""Authentication of a request: the bearer token, then the address policy. Pure.

Ship24 and Shiipp both send `Authorization: Bearer <secret>` and nothing else that can be checked: no signature, no timestamp
(docs.ship24.com, "Webhooks authentication"; docs.aeoral.com, "API keys").
"""

import hmac
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from hashlib import sha256
from typing import NamedTuple

from receiver.access.addresses import Address, Network, is_listed
from receiver.errors import AddressNotAllowed, Unauthorized


class AddressPolicy(StrEnum):
    """The treatment of requests from addresses that are not on the list: refuse, admit with a note, or admit."""

    ENFORCE = "enforce"
    REPORT = "report"
    OFF = "off"


MIN_TOKEN_CHARACTERS = 16
"""A shorter token could be guessed."""

_FINGERPRINT_PURPOSE = b"receiver token fingerprint\0"  # so that it is no part of another hash of the token


class Secret:
    """A token that never appears in a `repr`. `name` stands for it in rows and logs."""

    __slots__ = ("_digest", "_value", "name")

    def __init__(self, name: str, value: str) -> None:
        self.name = name
        self._value = value.encode()
        self._digest = sha256(self._value).digest()

    @property
    def fingerprint(self) -> str | None:
        """The fingerprint of the token, or None for a short one, whose fingerprint would help to guess it."""
        return None if len(self._value) < MIN_TOKEN_CHARACTERS else make_fingerprint(self._value)

    def __repr__(self) -> str:
        return f"Secret({self.name!r})"

    def __reduce__(self) -> str:
        raise TypeError("a secret cannot be pickled or copied")

    def matches(self, digest: bytes) -> bool:
        """Compare with the SHA-256 of the sent token, in constant time for tokens of any length."""
        return hmac.compare_digest(self._digest, digest)

    def reveal(self) -> str:
        """Return the token itself, for requests of our own that send it."""
        return self._value.decode()


class Admission(NamedTuple):
    """The name of the token that admitted a request (None: not admitted), and a note of the address policy."""

    token: str | None
    note: str | None


@dataclass(frozen=True, slots=True)
class AccessPolicy:
    """The access rules of one source. Without tokens the source is off."""

    tokens: tuple[Secret, ...]
    networks: tuple[Network, ...]
    policy: AddressPolicy

    def admit(self, authorization: Sequence[bytes], client: Address | str, *, window_open: bool) -> Admission:
        """Admit a request. Raises Unauthorized or AddressNotAllowed.

        `authorization` has the values of all Authorization headers. `client` is the resolved address, or the reason why it is
        unknown. While the setup window is open, any address is allowed: the vendors' test requests come from unlisted addresses.
        """
        token = match_bearer(self.tokens, authorization)
        if self.policy is AddressPolicy.OFF or (not isinstance(client, str) and is_listed(client, self.networks)):
            return Admission(token, None)
        refusal = client if isinstance(client, str) else "address not on the list"
        if window_open:
            return Admission(token, f"setup window: {refusal}")
        if self.policy is AddressPolicy.REPORT:
            return Admission(token, f"would be refused: {refusal}")
        if isinstance(client, str):
            raise AddressNotAllowed(f"The IP address of the client is unknown: {client}.")
        raise AddressNotAllowed(f"IP address {client} is not allowed.")


def match_bearer(tokens: Sequence[Secret], authorization: Sequence[bytes]) -> str:
    """Return the name of the sent token. Raises Unauthorized with a message that reveals nothing about valid tokens.

    The token is compared as bytes (RFC 6750, 2.1), the name of the scheme without case (RFC 9110, 11.1).
    """
    if not authorization:
        raise Unauthorized("No Authorization header; expected `Bearer <token>`.")
    if len(authorization) > 1:
        raise Unauthorized("Several Authorization headers; expected one.")
    scheme, _, credentials = authorization[0].strip().partition(b" ")
    if scheme.lower() != b"bearer" or not credentials:
        raise Unauthorized("Malformed Authorization header; expected `Bearer <token>`.")
    name = match_token(tokens, credentials.strip())
    if name is None:
        raise Unauthorized("The request had no valid token.")
    return name


def make_fingerprint(token: bytes) -> str:
    """Return eight hexadecimal digits of a hash of a token, which may stand in rows and logs.

    They say nothing useful of a token that a generator made: of all tokens of 16 random letters and digits, more than 10^19 have
    the same fingerprint. Of a short token or a word they would let somebody check guesses without asking the service.
    """
    return sha256(_FINGERPRINT_PURPOSE + token).hexdigest()[:8]


def match_token(tokens: Sequence[Secret], sent: bytes) -> str | None:
    """Return the name of the sent token, or None. Compare it with every token, so that the duration does not reveal a match."""
    digest = sha256(sent).digest()
    names = [token.name for token in tokens if token.matches(digest)]
    return names[0] if names else None
