"""How values are written for people. Pure. What came from outside is never trusted to look like what it is."""

import unicodedata
from datetime import datetime
from typing import NamedTuple

from receiver.clock import from_micros, iso, to_micros

_CONTROL_PICTURES = 0x2400  # U+2400 stands for NUL, and so on to U+241F
_KEPT = {"\n", "\t"}
_HIDDEN = {"Cc", "Cf", "Zl", "Zp", "Cs"}  # control, format (joiners, direction overrides, tags), separators, halves of letters
_BLANKS = {"\u115f", "\u1160", "\u3164", "\uffa0", "\u2800"}  # letters that show nothing
_UNITS = ((86_400, "d"), (3600, "h"), (60, "min"), (1, "s"))
_SIZES = ("B", "kB", "MB", "GB", "TB")
_SOURCES = {"ship24": "Ship24", "shiipp": "Shiipp"}


class Stamp(NamedTuple):
    """A moment of ours for a page: what machines read, day and time of day (UTC), and how long ago it was."""

    iso: str
    day: str
    clock: str
    ago: str


def visible(text: str) -> str:
    """Return a text in which every control and format character shows: `[U+202E]` instead of a direction override."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(letter if _shows(letter) else _picture(letter) for letter in text)


def _shows(letter: str) -> bool:
    return letter in _KEPT or (unicodedata.category(letter) not in _HIDDEN and letter not in _BLANKS)


def _picture(letter: str) -> str:
    code = ord(letter)
    if code < 0x20:
        return chr(_CONTROL_PICTURES + code)
    return "\u2421" if code == 0x7F else f"[U+{code:04X}]"


def shorten(text: str, characters: int) -> str:
    """Cut a text to so many letters, with a mark where it was cut."""
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


def write_span(seconds: float) -> str:
    """Return a length of time with its two largest units at most: `45 s`, `3 min`, `2 h 5 min`, `4 d`, or less than none."""
    if round(seconds) < 0:
        return f"\N{MINUS SIGN}{write_span(-seconds)}"
    total = round(seconds)
    if total < 60:
        return f"{total} s"
    if total < 3600:
        return f"{total // 60} min"
    if total < 86_400:
        return _join(total // 3600, "h", total % 3600 // 60, "min")
    return _join(total // 86_400, "d", total % 86_400 // 3600 if total < 10 * 86_400 else 0, "h")


def write_moment(at: int | str, now: datetime) -> Stamp:
    """Return a moment, as microseconds or as ISO 8601, for a page that is read at `now`."""
    micros = at if isinstance(at, int) else to_micros(datetime.fromisoformat(at))
    moment = from_micros(micros)
    seconds = (now - moment).total_seconds()
    return Stamp(iso(micros), f"{moment:%Y-%m-%d}", f"{moment:%H:%M:%S}", _write_ago(seconds))


def write_words(word: str) -> str:
    """Return a vendor's or our own code word as words: `out_for_delivery` becomes `out for delivery`."""
    return word.replace("_", " ")


def write_source(name: str) -> str:
    """Return a source's name as it writes itself."""
    return _SOURCES.get(name, name)


def _write_ago(seconds: float) -> str:
    unit_seconds, unit = next(unit for unit in _UNITS if abs(seconds) >= unit[0] or unit[0] == 1)
    number = round(abs(seconds)) // unit_seconds
    return f"in {number} {unit}" if seconds <= -1 else f"{number} {unit} ago" if seconds >= 1 else "just now"


def _join(large: int, large_unit: str, small: int, small_unit: str) -> str:
    return f"{large} {large_unit} {small} {small_unit}" if small else f"{large} {large_unit}"
