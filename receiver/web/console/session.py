"""Who is signed in: a signed cookie, and the form tokens that belong to it. Pure: moments are parameters.

A cookie is signed with a key that is derived from the very ops token that was typed in, so a token that is taken out of the
settings ends its sessions. Nothing of a session is stored; one that was signed out of is remembered until it would have ended.
"""

import hmac
from collections.abc import Sequence
from datetime import datetime, timedelta
from hashlib import sha256
from secrets import token_urlsafe
from typing import NamedTuple

from itsdangerous import BadData, URLSafeTimedSerializer

from receiver.gate import Secret

SESSION_SECONDS = 12 * 3600
_MAX_ENDED = 10_000
_MAX_COOKIE_LETTERS = 1000


class Session(NamedTuple):
    """One sign-in: the name of the ops token, an id that is random, and what each of its forms carries."""

    actor: str
    id: str
    form_token: str


class Sessions:
    """Begins, recognises and ends sessions."""

    def __init__(self, tokens: Sequence[Secret]) -> None:
        self._tokens = tuple(tokens)
        self._keys = {token.name: _derive(token.reveal().encode(), "session") for token in tokens}
        self._door_key = _derive(b"".join(self._keys.values()), "sign-in form")
        self._ended: dict[str, datetime] = {}

    def begin(self, sent: str) -> tuple[Session, str] | None:
        """Return a new session and its cookie, or None if this is not an ops token; each is compared, in constant time."""
        digest = sha256(sent.strip().encode()).digest()
        names = [token.name for token in self._tokens if token.matches(digest)]
        if not names:
            return None
        session = self._make(names[0], token_urlsafe(18))
        return session, str(self._serializer(session.actor).dumps(session.id))

    def read(self, cookie: str | None, now: datetime) -> Session | None:
        """Return the session of a cookie, or None if it is forged, too old, signed out of or of a retired token."""
        if not cookie or len(cookie) > _MAX_COOKIE_LETTERS:
            return None
        for token in self._tokens:
            try:
                session_id, begun = self._serializer(token.name).loads(cookie, return_timestamp=True)
            except BadData:
                continue
            age = now - begun
            if session_id in self._ended or not timedelta(seconds=-60) <= age < timedelta(seconds=SESSION_SECONDS):
                return None
            return self._make(token.name, str(session_id))
        return None

    def end(self, session: Session, now: datetime) -> None:
        """Let this session's cookie count no more."""
        self._ended = {name: until for name, until in self._ended.items() if until > now}
        while len(self._ended) >= _MAX_ENDED:
            self._ended.pop(next(iter(self._ended)))
        self._ended[session.id] = now + timedelta(seconds=SESSION_SECONDS)

    def form_token_of_visit(self, visit: str) -> str:
        """Return what the sign-in form carries for a visitor who has this value in a cookie."""
        return hmac.new(self._door_key, visit.encode(), sha256).hexdigest()

    def _make(self, actor: str, session_id: str) -> Session:
        return Session(actor, session_id, hmac.new(self._keys[actor], f"form {session_id}".encode(), sha256).hexdigest())

    def _serializer(self, actor: str) -> URLSafeTimedSerializer:
        arguments = {"digest_method": sha256, "key_derivation": "hmac"}
        return URLSafeTimedSerializer(self._keys[actor], salt="receiver console", signer_kwargs=arguments)


def is_same_token(sent: str | None, expected: str) -> bool:
    """Compare a form's token in constant time."""
    return hmac.compare_digest((sent or "").encode(), expected.encode())


def _derive(key: bytes, purpose: str) -> bytes:
    return hmac.new(key, f"receiver console: {purpose}".encode(), sha256).digest()
