"""Saved views: lists with their filters under a name, in a cookie of the browser.

A cookie works without scripts and for tokens that only look. People who share a token have views of their own, and search terms
about persons stay out of the database, where an erasure would have to find them. A cookie holds few views, so both their number
and their size are limited.
"""

import base64
import binascii
from collections.abc import Sequence
from typing import NamedTuple
from urllib.parse import parse_qsl

import orjson

from receiver.domain.storable import make_storable
from receiver.domain.trimming import trim
from receiver.errors import UnexpectedShape
from receiver.web.console import links

VIEWS_COOKIE = "receiver_views"
VIEWS_SECONDS = 365 * 86_400

PATHS = ("/ops/trackers", "/ops/deliveries", "/ops/messages", "/ops/quarantine", "/ops/changes")
"""The lists that can be saved."""

_MAX_VIEWS = 20
_MAX_COOKIE_CHARACTERS = 3500  # browsers keep cookies of up to 4,096 bytes
_MAX_NAME_CHARACTERS = 40


class SavedView(NamedTuple):
    """A list with its filters. `query` is a query string."""

    path: str
    name: str
    query: str

    @property
    def url(self) -> str:
        """Return the URL of the list."""
        return links.to_list(self.path, parse_qsl(self.query))


def read_views(cookie: str | None) -> tuple[SavedView, ...]:
    """Return the views of a cookie; none of one that this module has not written."""
    try:
        views = [SavedView(*texts) for texts in orjson.loads(base64.urlsafe_b64decode(cookie or ""))]
    except (binascii.Error, TypeError, ValueError):
        return ()
    are_texts = all(isinstance(text, str) for view in views for text in view)
    return tuple(views) if are_texts and all(view.path in PATHS for view in views) else ()


def write_views(views: Sequence[SavedView]) -> str:
    """Return the value of the cookie. Raises UnexpectedShape if the views are too many or too large."""
    text = base64.urlsafe_b64encode(orjson.dumps([[*view] for view in views])).decode()
    if len(views) > _MAX_VIEWS or len(text) > _MAX_COOKIE_CHARACTERS:
        raise UnexpectedShape("There is no room for another saved view. Remove one first.")
    return text


def save_view(views: Sequence[SavedView], path: str, name: str, query: str) -> list[SavedView]:
    """Return the views with another one, which replaces one of the same list and name. Raises UnexpectedShape."""
    name = make_storable(trim(name))
    if not 1 <= len(name) <= _MAX_NAME_CHARACTERS:
        raise UnexpectedShape(f"A saved view needs a name of at most {_MAX_NAME_CHARACTERS} characters.")
    return sorted([*remove_view(views, path, name), SavedView(path, name, query)])


def remove_view(views: Sequence[SavedView], path: str, name: str) -> list[SavedView]:
    """Return the views without one."""
    return [view for view in views if (view.path, view.name) != (path, name)]
