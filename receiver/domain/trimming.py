"""Trimming of white space and invisible characters from texts that people type, paste or scan."""

_CONTROLS = "".join(chr(code) for code in (*range(0x01, 0x21), 0x7F) if code != 0x1B)  # with the space
"""White space, and control characters such as STX and ETX, in which scanners frame what they read. NUL and ESC are no end of a
text that somebody scanned: one is refused by databases, the other begins a command to a terminal."""
_INVISIBLE = (
    f"{_CONTROLS}\u00ad\u061c"  # soft hyphen, Arabic letter mark
    "\u2061\u2062\u2063\u2064\u206a\u206b\u206c\u206d\u206e\u206f"  # invisible operators, deprecated format characters
    "\u180e"  # Mongolian vowel separator, white space in older versions of Unicode
    "\u200b\u200c\u200d"  # zero-width space, non-joiner and joiner
    "\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"  # direction marks, which copied cells contain
    "\u2060\ufeff"  # word joiner, byte order mark
)


def trim(text: str) -> str:
    """Return a text without the white space (of Unicode, including no-break spaces) and invisible characters at its ends.

    Control characters are invisible too, other than NUL and ESC.
    """
    if text.isascii():
        return text.strip(_CONTROLS)
    while True:
        trimmed = text.strip().strip(_INVISIBLE)
        if len(trimmed) == len(text):
            return text
        text = trimmed
