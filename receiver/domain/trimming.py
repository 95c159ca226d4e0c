"""White space around what people type, paste or scan, and what looks like it."""

_INVISIBLE = (
    "\u180e"  # Mongolian vowel separator, white space in older versions of Unicode
    "\u200b\u200c\u200d"  # zero-width space, non-joiner and joiner
    "\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"  # marks of direction, which copied cells carry
    "\u2060\ufeff"  # word joiner, byte order mark
)


def trim(text: str) -> str:
    """Return a text without white space (any of Unicode's, no-break spaces too) and invisible characters at its ends."""
    if text.isascii():
        return text.strip()
    while True:
        trimmed = text.strip().strip(_INVISIBLE)
        if len(trimmed) == len(text):
            return text
        text = trimmed
