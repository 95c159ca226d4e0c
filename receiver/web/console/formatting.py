"""Values as text for people. Pure. Characters that would hide or reorder text from outside are made visible."""

import unicodedata
from datetime import UTC, datetime, tzinfo
from typing import NamedTuple

from receiver.clock import from_micros, iso, to_micros

_CONTROL_PICTURES = 0x2400  # U+2400 is the picture of NUL, and so on to U+241F
_ALLOWED = {"\n", "\t"}
_HIDDEN = {"Cc", "Cf", "Zl", "Zp", "Cs"}  # control, format (joiners, direction overrides, tags), separators, halves of characters
_BLANKS = {"\u115f", "\u1160", "\u3164", "\uffa0", "\u2800"}  # they look like blanks
_UNITS = ((86_400, "d"), (3600, "h"), (60, "min"), (1, "s"))
_YEAR_SECONDS = 365.25 * 86_400
_SIZES = ("B", "kB", "MB", "GB", "TB")


class Stamp(NamedTuple):
    """A moment for a page: as ISO 8601, its day and time of day in a time zone, and how long ago it was.

    `zone` is the zone at that moment, such as `UTC` or `CEST`. `is_twice`: the clock shows this time twice on this day.
    """

    iso: str
    day: str
    clock: str
    zone: str
    is_twice: bool
    ago: str


def visible(text: str) -> str:
    """Return the text with every control and format character made visible: `[U+202E]` for a direction override."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(character if _is_visible(character) else _picture(character) for character in text)


def _is_visible(character: str) -> bool:
    return character in _ALLOWED or (unicodedata.category(character) not in _HIDDEN and character not in _BLANKS)


def _picture(character: str) -> str:
    code = ord(character)
    if code < 0x20:
        return chr(_CONTROL_PICTURES + code)
    return "\u2421" if code == 0x7F else f"[U+{code:04X}]"


def shorten(text: str, characters: int) -> str:
    """Cut a text to a number of characters; `…` marks the cut."""
    return text if len(text) <= characters else text[: characters - 1].rstrip() + "…"


def write_number(number: float) -> str:
    """Return `12,345`."""
    return f"{number:,}"


def write_size(size_bytes: int) -> str:
    """Return `640 B`, `1.2 kB`, `5.0 MB`."""
    if size_bytes < 1000:
        return f"{size_bytes} B"
    power = next(power for power in range(1, 5) if size_bytes < 999.95 * 1000**power or power == 4)
    return f"{size_bytes / 1000**power:.1f} {_SIZES[power]}"


def write_duration(seconds: float) -> str:
    """Return a duration in at most two units: `45 s`, `2 h 5 min`, `4 d`, `36 years`, with a minus sign if it is negative."""
    if round(seconds) < 0:
        return f"\N{MINUS SIGN}{write_duration(-seconds)}"
    total = round(seconds)
    if total < 60:
        return f"{total} s"
    if total < 3600:
        return f"{total // 60} min"
    if total < 86_400:
        return _join(total // 3600, "h", total % 3600 // 60, "min")
    if total < 2 * _YEAR_SECONDS:
        return _join(total // 86_400, "d", total % 86_400 // 3600 if total < 10 * 86_400 else 0, "h")
    return f"{total // _YEAR_SECONDS:.0f} years"


def write_moment(at: int | str, now: datetime, zone: tzinfo = UTC) -> Stamp:
    """Return a moment, given as microseconds or ISO 8601, for a page that is rendered at `now`."""
    micros = at if isinstance(at, int) else to_micros(datetime.fromisoformat(at))
    moment = _move(from_micros(micros), zone)
    ago = _write_ago((now - moment).total_seconds())
    return Stamp(iso(micros), f"{moment:%Y-%m-%d}", f"{moment:%H:%M:%S}", name_zone(moment), is_twice(moment), ago)


def write_zoned(moment: datetime, form: str, zone: tzinfo) -> str:
    """Return a moment in a zone, in a format of `strftime`, with the zone's name."""
    local = _move(moment, zone)
    return f"{local:{form}} {name_zone(local)}"


def name_zone(moment: datetime) -> str:
    """Return the zone of a moment: `UTC`, `CEST`, `UTC+0545`."""
    name = moment.tzname() or ""
    return f"UTC{name}" if name[:1] in ("+", "-") else name


def is_twice(moment: datetime) -> bool:
    """Return whether the clock shows this local time twice on this day, because it is set back."""
    return moment.replace(fold=0).utcoffset() != moment.replace(fold=1).utcoffset()


def write_minute(at: str, zone: tzinfo) -> str:
    """Return a moment in ISO 8601 as the minute in a zone, with the offset: `2026-10-25T02:30+02:00`."""
    return _move(datetime.fromisoformat(at), zone).isoformat(timespec="minutes").replace("+00:00", "Z")


def write_words(word: str) -> str:
    """Return a milestone as words: `out_for_delivery` becomes `out for delivery`."""
    return word.replace("_", " ")


def _move(moment: datetime, zone: tzinfo) -> datetime:
    """Return a moment in a zone, or in UTC if it has no date there: an operator may ask for the last hours of the year 9999."""
    try:
        return moment.astimezone(zone)
    except OverflowError:
        return moment.astimezone(UTC)


def _write_ago(seconds: float) -> str:
    unit_seconds, unit = next(unit for unit in _UNITS if abs(seconds) >= unit[0] or unit[0] == 1)
    number = round(abs(seconds)) // unit_seconds
    return f"in {number} {unit}" if seconds <= -1 else f"{number} {unit} ago" if seconds >= 1 else "just now"


def _join(large: int, large_unit: str, small: int, small_unit: str) -> str:
    return f"{large} {large_unit} {small} {small_unit}" if small else f"{large} {large_unit}"
