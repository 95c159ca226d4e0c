"""Who may come in: the bearer token, then the address. Pure: a call is admitted or an error is raised.

Ship24 and Shiipp both send `Authorization: Bearer <secret>` and nothing else that could be checked: no signature, no time stamp
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
    """What becomes of a call from an address that is not listed."""

    ENFORCE = "enforce"
    REPORT = "report"
    OFF = "off"


class Secret:
    """A token that hides itself: it can be compared, not read. `name` is what rows and logs call it."""

    __slots__ = ("_digest", "_value", "name")

    def __init__(self, name: str, value: str) -> None:
        self.name = name
        self._value = value.encode()
        self._digest = sha256(self._value).digest()

    def __repr__(self) -> str:
        return f"Secret({self.name!r})"

    def __reduce__(self) -> str:
        raise TypeError("a secret is not written down")

    def matches(self, digest: bytes) -> bool:
        """Compare with the SHA-256 of what was sent, in constant time; equal lengths tell nothing of the secret's own."""
        return hmac.compare_digest(self._digest, digest)

    def reveal(self) -> str:
        """Return the token itself, for a call of our own that has to send it."""
        return self._value.decode()


class Admission(NamedTuple):
    """By which token a call came in (None: it did not), and what the policy has to remark (None: nothing)."""

    token: str | None
    note: str | None


@dataclass(frozen=True, slots=True)
class AccessPolicy:
    """The rules of one source. No token: the source is off."""

    tokens: tuple[Secret, ...]
    networks: tuple[Network, ...]
    policy: AddressPolicy

    def admit(self, authorization: Sequence[bytes], client: Address | str, *, window_open: bool) -> Admission:
        """Let a call in. Raises Unauthorized or AddressNotAllowed.

        `authorization` are the values of all Authorization headers. `client` is the resolved address, or the reason why there is
        none. While the setup window is open any address may come: the vendors' test calls do not come from the listed ones.
        """
        token = match_bearer(self.tokens, authorization)
        if self.policy is AddressPolicy.OFF or (not isinstance(client, str) and is_listed(client, self.networks)):
            return Admission(token, None)
        refusal = client if isinstance(client, str) else "address not on the list"
        if window_open:
            return Admission(token, f"setup window: {refusal}")
        if self.policy is AddressPolicy.REPORT:
            return Admission(token, f"would be refused: {refusal}")
        where = "" if isinstance(client, str) else f" ({client})"
        raise AddressNotAllowed(f"Calls from here are not allowed: {refusal}{where}.")


def match_bearer(tokens: Sequence[Secret], authorization: Sequence[bytes]) -> str:
    """Return the name of the token that was sent. Raises Unauthorized, which never says how near a wrong one was.

    Each candidate is compared with all tokens, as bytes (RFC 6750, 2.1; the scheme's name is without case, RFC 9110, 11.1).
    """
    if not authorization:
        raise Unauthorized("Expected an Authorization header with a bearer token; there is none.")
    if len(authorization) > 1:
        raise Unauthorized("Expected one Authorization header; there are several.")
    scheme, _, credentials = authorization[0].strip().partition(b" ")
    if scheme.lower() != b"bearer" or not credentials.strip():
        raise Unauthorized("Expected `Authorization: Bearer <token>`; it has another form.")
    name = match_token(tokens, credentials.strip())
    if name is None:
        raise Unauthorized("The bearer token is not one of those set here.")
    return name


def match_token(tokens: Sequence[Secret], sent: bytes) -> str | None:
    """Return the name of the token that was sent; None if it is none of these. Each is compared, whichever matches."""
    digest = sha256(sent).digest()
    names = [token.name for token in tokens if token.matches(digest)]
    return names[0] if names else None
