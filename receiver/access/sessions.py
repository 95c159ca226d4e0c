"""The cookie of a session, and the form tokens that belong to it. Pure: which sessions are on is for storage to say.

A cookie is a random id and its signature, with a key that is derived from the ops token that was typed in. So a forged cookie
never costs a question to the database, and a token that is taken out of the settings ends its sessions.
"""

import hmac
from collections.abc import Sequence
from hashlib import sha256
from secrets import token_urlsafe
from typing import NamedTuple

from receiver.access.bearer import Secret

SESSION_SECONDS = 12 * 3600
_MAX_COOKIE_CHARACTERS = 200


class Session(NamedTuple):
    """One sign-in: the name of the ops token, the digest under which it is stored, and what each of its forms carries."""

    actor: str
    digest: str
    form_token: str


class Sessions:
    """Makes cookies and recognises those it has made."""

    def __init__(self, tokens: Sequence[Secret]) -> None:
        self._keys = {token.name: _derive(token.reveal().encode(), "session") for token in tokens}
        self._sign_in_key = _derive(b"".join(self._keys.values()), "sign-in form")

    def begin(self, actor: str) -> tuple[Session, str]:
        """Return a new session of a token, and its cookie."""
        session_id = token_urlsafe(32)
        return self._make(actor, session_id), f"{session_id}.{_sign(self._keys[actor], session_id)}"

    def read(self, cookie: str | None) -> Session | None:
        """Return the session of a cookie, or None if it is forged or of a retired token."""
        if not cookie or len(cookie) > _MAX_COOKIE_CHARACTERS:
            return None
        session_id, _, signature = cookie.rpartition(".")
        for actor, key in self._keys.items():
            if is_same_token(signature, _sign(key, session_id)):
                return self._make(actor, session_id)
        return None

    def form_token_of_visit(self, visit: str) -> str:
        """Return what the sign-in form carries for a visitor who has this value in a cookie."""
        return _sign(self._sign_in_key, visit)

    def _make(self, actor: str, session_id: str) -> Session:
        return Session(actor, sha256(session_id.encode()).hexdigest(), _sign(self._keys[actor], f"form {session_id}"))


def is_same_token(sent: str | None, expected: str) -> bool:
    """Compare a form's token, or a signature, in constant time."""
    return hmac.compare_digest((sent or "").encode(), expected.encode())


def _derive(key: bytes, purpose: str) -> bytes:
    return hmac.new(key, f"receiver console: {purpose}".encode(), sha256).digest()


def _sign(key: bytes, text: str) -> str:
    return hmac.new(key, text.encode(), sha256).hexdigest()
