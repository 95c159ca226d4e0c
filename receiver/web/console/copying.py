"""Texts of a delivery to copy: the body as text, and the request as a `curl` command. Pure."""

from collections.abc import Mapping, Sequence
from shlex import quote
from typing import Any

from receiver.web.console.formatting import visible

_MAX_CHARACTERS = 20_000  # a longer body is downloaded
_HEADER = '"Authorization: Bearer $TOKEN"'  # the shell fills it in: a page shows no token


def read_body_text(body: bytes) -> str | None:
    """Return a body as text that can be copied exactly, or None: it is too long, or has characters that a page cannot show."""
    try:
        text = body.decode()
    except UnicodeDecodeError:
        return None
    return text if len(text) <= _MAX_CHARACTERS and visible(text) == text else None


def write_curl(delivery: Mapping[str, Any], headers: Sequence[tuple[str, str]], body: bytes | None, base_url: str) -> str:
    """Return a shell command that sends a request again, with a placeholder for the token; a long body is a file beside it."""
    text = "" if body is None else read_body_text(body)
    content_type = next((value for name, value in headers if name.lower() == "content-type"), None)
    words = ["curl", "-X", quote(delivery["method"]), quote(base_url + delivery["path"]), "-H", _HEADER]
    if content_type is not None:
        words += ["-H", quote(f"Content-Type: {content_type}")]
    if body:
        words += ["--data-binary", f"@request-{delivery['id']}.bin" if text is None else quote(text)]
    return " ".join(words)
