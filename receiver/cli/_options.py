"""Parameter types and options that several commands share. White space around a value is removed."""

from collections.abc import Callable
from datetime import timedelta
from math import isfinite
from typing import Any, TypeVar

import click

from receiver import clock
from receiver.cli._terminal import choose_utc, shown_zone
from receiver.domain.imports import ORIGINS
from receiver.domain.time_inputs import read_span, read_time_input
from receiver.domain.trimming import trim
from receiver.sources import NAMES
from receiver.storage.queries import SORTS

_F = TypeVar("_F", bound=Callable[..., Any])
_MAX_WINDOW = timedelta(days=400)


class Text(click.ParamType[str]):
    """An ID, a search term or a name: trimmed, not empty, and UTF-8."""

    name = "text"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Trim the text. Refuse white space only, and bytes that are not UTF-8: neither JSON nor a database takes them."""
        text = trim(str(value))
        if not text:
            self.fail("expected text, found only white space.", param, ctx)
        if not text.isascii() and any("\ud800" <= character <= "\udfff" for character in text):  # how Python keeps such bytes
            self.fail("expected text in UTF-8.", param, ctx)
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
            return read_time_input(trim(value), clock.now(), shown_zone())
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
in_utc = click.option(
    "--utc", is_flag=True, is_eager=True, expose_value=False, callback=choose_utc, help="Show and read times in UTC."
)


def as_json(command: _F) -> _F:
    """Add --json and --utc to a command. Both are read before the times of other options, whose zone they choose."""
    json = click.option("--json", "as_json", is_flag=True, is_eager=True, callback=choose_utc, help="Print JSON.")
    return json(in_utc(command))


def sorted_by_time(command: _F) -> _F:
    """Add --sort to the command of a list by time."""
    return click.option("--sort", type=OneOf(SORTS), default="newest", show_default=True, help="What comes first, by time.")(
        command
    )


def delivery_filters(command: _F) -> _F:
    """Add the filters of deliveries to a command, all but --outcome."""
    for option in (
        click.option("--tracking-number", type=Text(), help="Only deliveries for this tracking number."),
        click.option("--message-id", type=Text(), help="Only deliveries with this message ID."),
        click.option("--until", type=TimeParam(), help="Only earlier deliveries."),
        click.option("--since", type=TimeParam(), help="Only later deliveries: 14:03, yesterday, 2026-01-31 12:00 or 24h."),
        click.option("--client", type=Text(), help="Only deliveries from this IP address."),
        click.option("--status", type=click.IntRange(100, 599), help="Only deliveries answered with this HTTP status."),
        click.option("--origin", type=OneOf(ORIGINS), help="Only deliveries that came this way."),
        of_tests,
        of_source,
    ):
        command = option(command)
    return command


def item_filters(command: _F) -> _F:
    """Add the filters of quarantined items to a command."""
    for option in (
        click.option("--until", type=TimeParam(), help="Only earlier ones."),
        click.option("--since", type=TimeParam(), help="Only later ones: 2026-01-31T12:00:00Z, 2026-01-31 or 24h."),
        click.option("--delivery", "delivery_id", type=Text(), help="Only those of the delivery with this ID."),
        click.option("--reason", type=Text(), help="Only this reason, such as bad_occurrence."),
        of_source,
        click.option("--q", "search", type=Text(), help="Message ID, tracker ID, tracking number, reference, or content."),
    ):
        command = option(command)
    return command
