"""Results of forms after the redirect of each POST: a sentence in the URL, and for ten minutes the page in memory.

A page may show data of persons, so it is never stored: only the receiver that took the form has it. The sentence has no such
data, so every receiver tells the result, also after a restart. It is signed for the session that sent the form.
"""

import hmac
from collections import OrderedDict
from collections.abc import Mapping
from datetime import datetime, timedelta
from hashlib import sha256
from secrets import token_urlsafe
from typing import NamedTuple
from urllib.parse import urlencode

from receiver.access.sessions import Session, is_same_token
from receiver.errors import NotFound

PATH = "/ops/results"
_KEPT_FOR = timedelta(minutes=10)
_MAX_BYTES = 16 * 2**20
_MAX_CHARACTERS = 1000  # of a sentence: proxies take URLs of 4,000 and more
_GONE = "There is no such result for your session. The audit log on the page Settings says what was done."


class _Kept(NamedTuple):
    digest: str  # of the session
    until: datetime
    body: bytes


class ResultPages:
    """Keeps rendered pages, 16 MiB in total. Only the event loop adds one; threads find them."""

    def __init__(self) -> None:
        self._kept = OrderedDict[str, _Kept]()

    def keep(self, session: Session, body: bytes, summary: str, now: datetime) -> str:
        """Keep a page and return its URL, which has the summary."""
        result_id, told = token_urlsafe(12), summary[:_MAX_CHARACTERS]
        self._kept[result_id] = _Kept(session.digest, now + _KEPT_FOR, body)
        while self._is_over(now):
            self._kept.popitem(last=False)
        return f"{PATH}/{result_id}?{urlencode({'told': told, 'mark': _mark(session, told)})}"

    def find(self, session: Session, result_id: str, now: datetime) -> bytes | None:
        """Return a page of this session, or None if this receiver does not have it, or not any more."""
        kept = self._kept.get(result_id)
        return None if kept is None or kept.digest != session.digest or kept.until <= now else kept.body

    def _is_over(self, now: datetime) -> bool:
        """Tell whether the oldest page must go. The newest one always stays."""
        kept = list(self._kept.values())
        return len(kept) > 1 and (kept[0].until <= now or sum(len(one.body) for one in kept) > _MAX_BYTES)


def read_summary(session: Session, query: Mapping[str, str]) -> str:
    """Return the summary in the URL of a result. Raises NotFound unless `keep` wrote it for this session."""
    told = query.get("told", "")
    if not is_same_token(query.get("mark"), _mark(session, told)):
        raise NotFound(_GONE)
    return told


def _mark(session: Session, told: str) -> str:
    return hmac.new(session.form_token.encode(), f"result {told}".encode(), sha256).hexdigest()
