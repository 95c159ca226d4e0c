"""PostgreSQL arrays as text: one column of many rows in one parameter (manual, "Array Input and Output Syntax").

The driver writes an array element by element in Python, which took most of the time for storing a delivery.
"""

from collections.abc import Sequence
from typing import Any

import orjson


def write_array(values: Sequence[Any]) -> str | list[Any]:
    """Return values of one type (text, integers or bytes; None is NULL) as the text of an array, or as a list for the driver.

    With braces for its brackets, a JSON list is such a text: `null` is NULL, and a backslash escapes quotes and backslashes. The
    driver writes values with other escapes of JSON, such as line breaks.
    """
    if any(isinstance(value, bytes) for value in values):
        return "{" + ",".join(["null" if value is None else f'"\\\\x{value.hex()}"' for value in values]) + "}"
    text = orjson.dumps(values).decode()
    if "\\" in text and "\\" in text.replace("\\\\", "").replace('\\"', ""):
        return list(values)
    return "{" + text[1:-1] + "}"
