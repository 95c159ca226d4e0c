"""The reader of `.env`."""

import re
from io import StringIO
from pathlib import Path

from dotenv.parser import parse_stream

from receiver.errors import ConfigurationError
from receiver.project.files import read_text_file

_NEWLINE = re.compile(r"\r\n|\n|\r")


def read_dotenv(path: Path) -> dict[str, str]:
    """Return the variables in a file; none if there is no file. Raises ConfigurationError that names the line."""
    try:
        text = read_text_file(path)
    except FileNotFoundError:
        return {}
    written: dict[str, str] = {}
    for binding in parse_stream(StringIO(text)):
        content = binding.original.string
        if binding.error or (binding.key is not None and binding.value is None):
            blank = content[: len(content) - len(content.lstrip())]
            line = binding.original.line + len(_NEWLINE.findall(blank))
            raise ConfigurationError(
                f"{path}, line {line}: expected NAME=VALUE. Put quotes around a value that contains quotes or several lines."
            )
        if binding.key is not None and binding.value is not None:
            written[binding.key] = binding.value
    return written
