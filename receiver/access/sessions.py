"""Session cookies of the console and their form tokens. Pure: storage knows which sessions are open.

A cookie is a random id and its signature. The key is derived from the ops token of the sign-in. So a forged cookie costs no
query, and removing a token from the settings ends its sessions.
"""

import hmac
from collections.abc import Sequence
from hashlib import sha256
from secrets import token_urlsafe
from typing import NamedTuple

from receiver.access.bearer import Secret

SESSION_SECONDS = 12 * 3600


class Session(NamedTuple):
    """One session: the name of its ops token, the digest of its id (its key in storage), and the token of its forms."""

    actor: str
    digest: str
    form_token: str


class Sessions:
    """Makes session cookies and verifies them."""

    def __init__(self, tokens: Sequence[Secret]) -> None:
        self._keys = {token.name: _derive(token.reveal().encode(), "session") for token in tokens}
        self._sign_in_key = _derive(b"".join(self._keys.values()), "sign-in form")

    def begin(self, actor: str) -> tuple[Session, str]:
        """Return a new session for the token of this name, and its cookie."""
        session_id = token_urlsafe(32)
        return self._make(actor, session_id), f"{session_id}.{_sign(self._keys[actor], session_id)}"

    def read(self, cookie: str | None) -> Session | None:
        """Return the session of a cookie, or None if it is forged or its token was removed."""
        if not cookie:
            return None
        session_id, _, signature = cookie.rpartition(".")
        for actor, key in self._keys.items():
            if is_same_token(signature, _sign(key, session_id)):
                return self._make(actor, session_id)
        return None

    def make_sign_in_token(self, visitor: str) -> str:
        """Return the form token of the sign-in page for a browser with this value in its cookie."""
        return _sign(self._sign_in_key, visitor)

    def _make(self, actor: str, session_id: str) -> Session:
        return Session(actor, sha256(session_id.encode()).hexdigest(), _sign(self._keys[actor], f"form {session_id}"))


def is_same_token(sent: str | None, expected: str) -> bool:
    """Compare a form token or a signature with the expected one in constant time."""
    return hmac.compare_digest((sent or "").encode(), expected.encode())


def _derive(key: bytes, purpose: str) -> bytes:
    return hmac.new(key, f"receiver console: {purpose}".encode(), sha256).digest()


def _sign(key: bytes, text: str) -> str:
    return hmac.new(key, text.encode(), sha256).hexdigest()
