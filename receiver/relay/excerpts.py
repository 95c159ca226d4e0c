"""The beginning of a target's answer, in a form that can be stored and shown. Pure."""

from collections.abc import Iterable
from urllib.parse import parse_qsl, unquote, urlsplit

MAX_CHARACTERS = 200
_REDACTED = "[secret]"
_MIN_CHARACTERS = 6  # of a part of a URL that may be a secret
_MIN_CUT_CHARACTERS = 3  # of the beginning of a secret


def make_excerpt(content: bytes, secrets: Iterable[str], *, is_cut: bool = False) -> str:
    """Return the first printable characters of an answer on one line, without the secrets.

    `is_cut`: `content` is not all of the answer. The beginning of a secret at its end is left out too.
    """
    known = sorted({secret for secret in secrets if secret}, key=len, reverse=True)
    text = content.decode(errors="replace")
    for secret in known:
        text = text.replace(secret, _REDACTED)
    if is_cut:
        for secret in known:
            text = text.removesuffix(_find_cut(text, secret))
    words = "".join(character if character.isprintable() else " " for character in text).split()
    line = " ".join(words)
    return line if len(line) <= MAX_CHARACTERS else f"{line[: MAX_CHARACTERS - 1]}…"


def list_secret_parts(url: str) -> set[str]:
    """Return the parts of a URL that may be secrets: of its path and of its query, as they are written and decoded."""
    parts = urlsplit(url)
    pieces = {*parts.path.split("/"), parts.path, *parts.query.split("&")}
    for piece in parts.query.split("&"):
        pieces.update(piece.split("=", 1))
    pieces |= {unquote(piece) for piece in pieces} | {value for pair in parse_qsl(parts.query) for value in pair}
    return {piece for piece in pieces if len(piece) >= _MIN_CHARACTERS}


def _find_cut(text: str, secret: str) -> str:
    """Return the longest beginning of a secret with which the text ends, or nothing."""
    lengths = range(len(secret) - 1, _MIN_CUT_CHARACTERS - 1, -1)
    return next((secret[:length] for length in lengths if text.endswith(secret[:length])), "")
