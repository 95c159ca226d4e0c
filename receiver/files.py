"""Files that an operator names: read whole, or refused in one line that names the file and what is expected."""

from pathlib import Path

from receiver.errors import ConfigurationError


def read_file(path: Path, name: str | None = None) -> bytes:
    """Return the bytes of a file. Raises FileNotFoundError, or ConfigurationError that names the file (`name`: otherwise)."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise
    except (OSError, ValueError) as error:  # a ValueError: NUL in the path
        raise ConfigurationError(f"{name or path}: expected a readable text file: {_explain(error)}.") from None


def read_text_file(path: Path, name: str | None = None) -> str:
    """Return the text of a file in UTF-8, with or without a byte order mark. Raises as `read_file` does."""
    content = read_file(path, name)
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise ConfigurationError(f"{name or path}: expected UTF-8, not UTF-16. Save the file as UTF-8.")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ConfigurationError(f"{name or path}, line {line}: expected UTF-8. Save the file as UTF-8.") from None
    if "\0" in text:
        line = text.count("\n", 0, text.index("\0")) + 1
        raise ConfigurationError(f"{name or path}, line {line}: expected text in UTF-8; there is a NUL character.")
    return text


def _explain(error: OSError | ValueError) -> str:
    words = getattr(error, "strerror", None) or str(error)
    return words[:1].lower() + words[1:]
