"""One column of many rows as one parameter: the text of a PostgreSQL array (manual, "Array Input and Output Syntax").

The driver writes an array element by element, in Python; most of what it took to keep a call was that.
"""

from collections.abc import Sequence
from typing import Any

import orjson


def write_array(values: Sequence[Any]) -> str | list[Any]:
    """Return values of one type (text, whole numbers or bytes; None is NULL) as an array's text, or as a list for the driver.

    A JSON list in other brackets is such a text: `null` is NULL, and a backslash stands before a quote or another backslash. What
    JSON writes with further escapes, as line breaks, is left to the driver.
    """
    if any(isinstance(value, bytes) for value in values):
        return "{" + ",".join(["null" if value is None else f'"\\\\x{value.hex()}"' for value in values]) + "}"
    text = orjson.dumps(values).decode()
    if "\\" in text and "\\" in text.replace("\\\\", "").replace('\\"', ""):
        return list(values)
    return "{" + text[1:-1] + "}"
