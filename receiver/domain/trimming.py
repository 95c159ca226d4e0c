"""Trimming of white space and invisible characters from texts that people type, paste or scan."""

_INVISIBLE = (
    "\u180e"  # Mongolian vowel separator, white space in older versions of Unicode
    "\u200b\u200c\u200d"  # zero-width space, non-joiner and joiner
    "\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"  # direction marks, which copied cells contain
    "\u2060\ufeff"  # word joiner, byte order mark
)


def trim(text: str) -> str:
    """Return a text without the white space (of Unicode, including no-break spaces) and invisible characters at its ends."""
    if text.isascii():
        return text.strip()
    while True:
        trimmed = text.strip().strip(_INVISIBLE)
        if len(trimmed) == len(text):
            return text
        text = trimmed
