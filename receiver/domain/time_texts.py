"""Our own times within sentences, for readers in another time zone. Pure."""

import re
from collections.abc import Callable
from datetime import datetime
from functools import partial

_OURS = re.compile(r"“[^”]*”|`[^`]*`|(?<![\w:.-])(\d{4}-\d\d-\d\dT\d\d:\d\d(:\d\d\.\d{3})?Z)(?![\w:.-]*\w)")
"""A quoted text, code, or a time as `clock.iso` and `traffic.minute` write it."""

WriteTime = Callable[[datetime, str], str]
"""Writes a time for a reader. The second argument is its format for `strftime`, up to the second or the minute."""


def localise_times(sentence: str, write: WriteTime) -> str:
    """Return a sentence whose times are written by `write`. Texts in “quotes” and `code` stay, so commands can be copied."""
    return _OURS.sub(partial(_replace, write), sentence)


def _replace(write: WriteTime, found: re.Match[str]) -> str:
    if found[1] is None:
        return found[0]
    try:
        return write(datetime.fromisoformat(found[1]), "%Y-%m-%d %H:%M:%S" if found[2] else "%Y-%m-%d %H:%M")
    except (ValueError, OverflowError):  # no date, or none in the reader's zone; a sender may have written it
        return found[0]
