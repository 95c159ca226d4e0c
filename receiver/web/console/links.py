"""Addresses of the console's own pages. Pure. A tracker's or message's id may hold slashes, spaces and anything else."""

from collections.abc import Iterable
from urllib.parse import quote, unquote, urlencode, urlsplit

HOME = "/ops"
SIGN_IN = "/ops/sign-in"
_NOT_BACK_TO = {SIGN_IN, "/ops/sign-out"}


def to_tracker(source: str, tracker_id: str) -> str:
    """Return the address of a tracker's page."""
    return f"/ops/trackers/{quote(source, safe='')}/{quote(tracker_id, safe='')}"


def to_message(message_id: str) -> str:
    """Return the address of a message's page."""
    return f"/ops/messages/{quote(message_id, safe='')}"


def to_delivery(delivery_id: str) -> str:
    """Return the address of a call's page."""
    return f"/ops/deliveries/{quote(delivery_id, safe='')}"


def to_list(path: str, pairs: Iterable[tuple[str, str]], **changed: str | None) -> str:
    """Return a list's address with its filters, some of them changed; None takes one out."""
    kept = [(name, value) for name, value in pairs if name not in changed and value]
    kept += [(name, value) for name, value in changed.items() if value]
    return f"{path}?{urlencode(kept)}" if kept else path


def to_sign_in(wanted: str) -> str:
    """Return the address of the sign-in that leads on to another page."""
    return SIGN_IN if read_next(wanted).rstrip("/") == HOME else f"{SIGN_IN}?{urlencode({'next': wanted})}"


def read_next(wanted: str | None) -> str:
    """Return where to go after the sign-in: a page of ours, whatever was asked for."""
    if not wanted or not wanted.isascii() or not wanted.isprintable() or "\\" in wanted:
        return HOME
    parts = urlsplit(wanted)
    steps = [unquote(step) for step in parts.path.split("/")]
    inside = parts.path == HOME or parts.path.startswith("/ops/")
    if parts.scheme or parts.netloc or not inside or {".", ".."} & set(steps) or parts.path.rstrip("/") in _NOT_BACK_TO:
        return HOME
    return wanted
