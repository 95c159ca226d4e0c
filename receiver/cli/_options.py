"""Parameter types and options that several commands share. White space around a value is removed."""

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from math import isfinite
from typing import Any, TypeVar

import click

from receiver import clock
from receiver.domain.trimming import trim
from receiver.sources import NAMES
from receiver.storage.queries import MAX_LIMIT

_F = TypeVar("_F", bound=Callable[..., Any])
_DATE = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)
_SPAN = re.compile(r"(\d{1,9})([smhd])", re.ASCII)
_UNIT_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
_MAX_WINDOW = timedelta(days=400)
_FORMS = "a time with a zone (2026-01-31T12:00:00Z), a date (2026-01-31, in UTC) or an age (90m, 24h, 7d)"


def read_moment(text: str, now: datetime) -> int:
    """Return a time in microseconds, from a time with a zone, a date in UTC or an age. Raises ValueError with these forms."""
    try:
        moment = _read_moment(text, now)
    except (ValueError, OverflowError):
        moment = None
    if moment is None or moment.tzinfo is None:
        raise ValueError(f"expected {_FORMS}")
    return max(0, clock.to_micros(moment))  # nothing was received before 1970


def _read_moment(text: str, now: datetime) -> datetime:
    if _SPAN.fullmatch(text):
        return now - read_span(text)
    moment = datetime.fromisoformat(text)
    return moment.replace(tzinfo=UTC) if _DATE.fullmatch(text) else moment


def read_span(text: str) -> timedelta:
    """Return the time span of a text such as `24h`. Raises ValueError or OverflowError."""
    found = _SPAN.fullmatch(text)
    if found is None:
        raise ValueError("expected a time span such as 90m, 24h or 7d")
    return timedelta(seconds=int(found[1]) * _UNIT_SECONDS[found[2]])


class Text(click.ParamType[str]):
    """An ID, a search term or a name: trimmed and not empty."""

    name = "text"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Trim the text. Refuse white space only."""
        text = trim(str(value))
        if not text:
            self.fail("expected text, found only white space.", param, ctx)
        return text


class OneOf(click.Choice[str]):
    """A choice, trimmed."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Trim the word and look it up."""
        return super().convert(trim(str(value)), param, ctx)


class TimeParam(click.ParamType[int]):
    """A point in time, converted to microseconds."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Parse the text."""
        try:
            return read_moment(trim(value), clock.now())
        except ValueError as error:
            self.fail(f"{value!r}: {error}.", param, ctx)


class NumberParam(click.FloatRange):
    """A number in a range. `nan` is refused; click accepts it in every range."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Check the number."""
        number = float(super().convert(value, param, ctx))
        if not isfinite(number):
            self.fail(f"{value!r}: expected a number.", param, ctx)
        return number


class WindowParam(click.ParamType[str]):
    """A time span of at most 400 days that ends now. The value stays text."""

    name = "span"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Check the text."""
        text = trim(str(value))
        try:
            fits = timedelta() < read_span(text) <= _MAX_WINDOW
        except (ValueError, OverflowError):
            fits = False
        if not fits:
            self.fail(f"{value!r}: expected a time span of at most {_MAX_WINDOW.days} days, such as 90m, 24h or 7d.", param, ctx)
        return text


of_tests = click.option("--test/--no-test", default=None, help="Only what a test has sent, or only what is real.")
of_source = click.option("--source", type=OneOf(NAMES), help="Only this source.")
as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


def paged(command: _F) -> _F:
    """Add the options of a list to a command: --limit, --cursor and --json."""
    limit = click.option("--limit", type=click.IntRange(1, MAX_LIMIT), default=50, show_default=True, help="Rows in a page.")
    cursor = click.option("--cursor", type=Text(), help="Continue from this cursor, printed after `more:`.")
    return limit(cursor(as_json(command)))


def delivery_filters(command: _F) -> _F:
    """Add the filters of deliveries to a command, all but --outcome."""
    for option in (
        click.option("--tracking-number", type=Text(), help="Only deliveries for this tracking number."),
        click.option("--message-id", type=Text(), help="Only deliveries with this message ID."),
        click.option("--until", type=TimeParam(), help="Only earlier deliveries."),
        click.option("--since", type=TimeParam(), help="Only later deliveries: 2026-01-31T12:00:00Z, 2026-01-31 or 24h."),
        click.option("--client", type=Text(), help="Only deliveries from this IP address."),
        click.option("--status", type=click.IntRange(100, 599), help="Only deliveries answered with this HTTP status."),
        of_tests,
        of_source,
    ):
        command = option(command)
    return command
