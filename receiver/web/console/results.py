"""Pages with the results of forms, kept in memory for the redirect after each POST.

A page may show data of persons, so it is never stored. Only the session that sent the form gets it, from the receiver that took
it.
"""

from collections import OrderedDict
from datetime import datetime, timedelta
from secrets import token_urlsafe
from typing import NamedTuple

from receiver.access.sessions import Session
from receiver.errors import NotFound

PATH = "/ops/results"
_KEPT_FOR = timedelta(minutes=10)
_MAX_BYTES = 16 * 2**20
_GONE = (
    "The result of this form is not shown any more. It is kept for ten minutes, by the receiver that took the form. "
    "The audit log on the page Settings says what was done."
)


class _Kept(NamedTuple):
    digest: str  # of the session
    until: datetime
    body: bytes


class FormResults:
    """Keeps rendered pages, 16 MiB in total. Only the event loop adds one; threads find them."""

    def __init__(self) -> None:
        self._kept = OrderedDict[str, _Kept]()

    def keep(self, session: Session, body: bytes, now: datetime) -> str:
        """Keep a page and return its URL."""
        result_id = token_urlsafe(12)
        self._kept[result_id] = _Kept(session.digest, now + _KEPT_FOR, body)
        while self._is_over(now):
            self._kept.popitem(last=False)
        return f"{PATH}/{result_id}"

    def find(self, session: Session, result_id: str, now: datetime) -> bytes:
        """Return a page of this session. Raises NotFound."""
        kept = self._kept.get(result_id)
        if kept is None or kept.digest != session.digest or kept.until <= now:
            raise NotFound(_GONE)
        return kept.body

    def _is_over(self, now: datetime) -> bool:
        """Tell whether the oldest page must go. The newest one always stays."""
        kept = list(self._kept.values())
        return len(kept) > 1 and (kept[0].until <= now or sum(len(one.body) for one in kept) > _MAX_BYTES)
