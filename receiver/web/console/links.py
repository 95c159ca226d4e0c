"""URLs of the console's own pages. Pure. The ID of a tracker or message may contain slashes, spaces and anything else."""

from collections.abc import Iterable
from urllib.parse import quote, unquote, urlencode, urlsplit

from receiver.web.console.formatting import write_minute
from receiver.web.console.time_zones import TimeZone

HOME = "/ops"
SIGN_IN = "/ops/sign-in"
_NOT_AFTER_SIGN_IN = {SIGN_IN, "/ops/sign-out"}


_Pairs = Iterable[tuple[str, str]]
_OF_PAGE = {"cursor", "limit"}


def to_tracker(source: str, tracker_id: str, filters: _Pairs = ()) -> str:
    """Return the URL of a tracker's page. With the filters of a list, the page leads to the next tracker in it."""
    return to_list(f"/ops/trackers/{quote(source, safe='')}/{quote(tracker_id, safe='')}", drop_page(filters))


def to_message(message_id: str, filters: _Pairs = (), cursor: str | None = None) -> str:
    """Return the URL of a message's page. With the filters of a list and a place in it, the page leads to the next message."""
    return to_list(f"/ops/messages/{quote(message_id, safe='')}", drop_page(filters), cursor=cursor)


def to_delivery(delivery_id: str, filters: _Pairs = ()) -> str:
    """Return the URL of a delivery's page. With the filters of a list, the page leads to the next delivery in it."""
    return to_list(f"/ops/deliveries/{quote(delivery_id, safe='')}", drop_page(filters))


def to_reconciliation(run_id: str) -> str:
    """Return the URL of a reconciliation's page."""
    return f"/ops/recover/{quote(run_id, safe='')}"


def drop_page(pairs: _Pairs) -> list[tuple[str, str]]:
    """Return the filters of a list without what names a page of it."""
    return [(name, value) for name, value in pairs if name not in _OF_PAGE]


def to_customer(user_code: str) -> str:
    """Return the URL of the customer list with the customers that this code finds."""
    return to_list("/ops/customers", (), q=user_code)


def to_search(text: str) -> str:
    """Return the URL of the search for a text, which opens the only hit: what may not exist is linked by it."""
    return to_list("/ops/search", (), q=text)


def to_quarantine(delivery_id: str) -> str:
    """Return the URL of the quarantined messages of a delivery."""
    return to_list("/ops/quarantine", (), delivery_id=delivery_id, state="all")


def to_not_applied() -> str:
    """Return the URL of the messages of today that had no effect."""
    return to_list("/ops/messages", (), outcome="not_applied", since="today")


def to_deliveries(since: str, until: str, zone: TimeZone) -> str:
    """Return the URL of the deliveries between two whole minutes in ISO 8601, which the filter shows in a zone."""
    return to_list("/ops/deliveries", (), since=write_minute(since, zone.info), until=write_minute(until, zone.info))


def to_list(path: str, pairs: _Pairs, **changed: str | None) -> str:
    """Return the URL of a list with its filters, some of them `changed`; None removes a filter."""
    filters = [(name, value) for name, value in pairs if name not in changed and value]
    filters += [(name, value) for name, value in changed.items() if value]
    return f"{path}?{urlencode(filters)}" if filters else path


def to_sign_in(wanted: str, *, is_unsent: bool = False) -> str:
    """Return the URL of the sign-in page that then leads to the `wanted` page.

    `is_unsent` makes it say that a form changed nothing.
    """
    pairs = [] if read_next(wanted).rstrip("/") == HOME else [("next", wanted)]
    return to_list(SIGN_IN, [*pairs, ("unsent", "yes" if is_unsent else "")])


def read_next(wanted: str | None) -> str:
    """Return the page after the sign-in: `wanted` if it is a page of the console, else the overview."""
    if not wanted or not wanted.isascii() or not wanted.isprintable() or "\\" in wanted:
        return HOME
    parts = urlsplit(wanted)
    steps = [unquote(step) for step in parts.path.split("/")]
    inside = parts.path == HOME or parts.path.startswith("/ops/")
    if parts.scheme or parts.netloc or not inside or {".", ".."} & set(steps) or parts.path.rstrip("/") in _NOT_AFTER_SIGN_IN:
        return HOME
    return wanted
