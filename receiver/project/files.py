"""Text files that an operator names. An error is one line with the name of the file and what was expected."""

import sys
from pathlib import Path

from receiver.errors import ConfigurationError


def read_file(path: Path, name: str | None = None) -> bytes:
    """Return the bytes of a file. Raises FileNotFoundError, or ConfigurationError that names the file (or `name` instead)."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise
    except (OSError, ValueError) as error:  # ValueError: the path contains NUL
        raise ConfigurationError(f"{name or path}: expected a readable text file: {_explain(error)}.") from None


def read_text_file(path: Path, name: str | None = None) -> str:
    """Return the text of a file in UTF-8, with or without a byte order mark. Raises as `read_file` does."""
    return _decode(read_file(path, name), name or str(path))


def read_named_file(path: Path) -> bytes:
    """Return the bytes of a file that a command needs. Raises ConfigurationError that names the file."""
    try:
        return read_file(path)
    except FileNotFoundError:
        raise ConfigurationError(f"{path}: expected a readable text file: there is no such file.") from None


def read_named_text_file(path: Path) -> str:
    """Return the text of a file in UTF-8 that a command needs. Raises ConfigurationError that names the file."""
    return _decode(read_named_file(path), str(path))


def read_first_line(path: Path) -> str:
    """Return the first line of a text file, or of standard input for `-`. Raises ConfigurationError that names the file."""
    text = _decode(sys.stdin.buffer.readline(), "standard input") if str(path) == "-" else read_named_text_file(path)
    return text.partition("\n")[0]


def _decode(content: bytes, name: str) -> str:
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise ConfigurationError(f"{name}: expected UTF-8, not UTF-16. Save the file as UTF-8.")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ConfigurationError(f"{name}, line {line}: expected UTF-8. Save the file as UTF-8.") from None
    if "\0" in text:
        line = text.count("\n", 0, text.index("\0")) + 1
        raise ConfigurationError(f"{name}, line {line}: expected text in UTF-8, found a NUL character.")
    return text


def _explain(error: OSError | ValueError) -> str:
    reason = getattr(error, "strerror", None) or str(error)
    return reason[:1].lower() + reason[1:]
