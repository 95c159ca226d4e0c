"""Text in a form that every database can store. PostgreSQL refuses NUL, and all refuse halves of surrogate pairs."""

from typing import overload

MAX_CHARACTERS = 4000
"""The maximum length of errors, reasons and messages."""

MAX_KEY_CHARACTERS = 500
"""The maximum length of a text in an index."""


@overload
def make_storable(text: str, limit: int = MAX_CHARACTERS) -> str: ...
@overload
def make_storable(text: None, limit: int = MAX_CHARACTERS) -> None: ...
def make_storable(text: str | None, limit: int = MAX_CHARACTERS) -> str | None:
    """Return a text that every database can store, of at most `limit` characters.

    NUL becomes the symbol ␀, a surrogate pair its character, and half of a pair U+FFFD.
    """
    if text is None or (text.isascii() and "\0" not in text and len(text) <= limit):
        return text
    text = text[:limit].replace("\0", "\N{SYMBOL FOR NULL}")
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text
