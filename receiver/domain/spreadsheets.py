"""CSV files from and for spreadsheets: separators, encodings, empty rows, formulas, error values, shortened numbers."""

import csv
import io
import re
from codecs import BOM_UTF16_BE, BOM_UTF16_LE
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import orjson

from receiver.domain.trimming import trim
from receiver.errors import UnexpectedShape

_SEPARATORS = ",;\t|"
_SEPARATOR_LINE = re.compile(r'"?sep=([^"\r\n])\1*"?[^\S\r\n]*(?:\r\n|\r|\n|$)', re.IGNORECASE)
_TEXT_FORMULA = re.compile(r'="((?:[^"]|"")*)"', re.DOTALL)  # people write this so that Excel does not read 00123 as 123
_ERROR_VALUE = re.compile(r"#[^\W\d_][\w/]*[!?]|#N/A|#NV|Err:\d{3}", re.IGNORECASE)
_FORMULA_STARTS = tuple("=+-@\t\r\n\uff1d\uff0b\uff0d\uff20")  # the last four are the wide forms (OWASP, CSV injection)
_SHORTENED_NUMBER = re.compile(r"\d(?:[.,]\d+)?E\+\d+", re.IGNORECASE)  # 1.23457E+14: most digits are lost


class WrongEncoding(UnexpectedShape):
    """A file is neither UTF-8 nor UTF-16 with a byte order mark."""


class Row(NamedTuple):
    """A row with content: the number of its first line and its trimmed cells."""

    line: int
    cells: list[str]


def read_csv(content: bytes) -> Iterator[Row]:
    """Yield the rows of a CSV file, the header first. Raises UnexpectedShape with the line, and the column if known."""
    text = decode(content)
    first_line = 1
    separator = None
    if named := _SEPARATOR_LINE.match(text):
        separator, text, first_line = named[1], text[named.end() :], 2
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator or _find_separator(text), strict=True)
    line = first_line
    try:
        for cells in reader:
            trimmed = [_read_cell(cell) for cell in cells]
            if any(trimmed):
                yield Row(line, trimmed)
            line = reader.line_num + first_line
    except csv.Error as error:
        raise UnexpectedShape(f"Line {line}: {error}.") from None


def decode(content: bytes) -> str:
    """Return the text of a file in UTF-8, or in UTF-16 with a byte order mark. Raises WrongEncoding with the line."""
    encoding = "utf-16" if content.startswith((BOM_UTF16_LE, BOM_UTF16_BE)) else "utf-8-sig"
    try:
        text = content.decode(encoding)
    except UnicodeDecodeError as error:
        before = content[: error.start].decode(encoding, "ignore")
        line, column = before.count("\n") + 1, len(before.rpartition("\n")[2]) + 1
        wrong = content[error.start : error.start + 1].hex().upper()
        raise WrongEncoding(
            f"Line {line}, character {column}: byte 0x{wrong} is not {error.encoding.upper()}. Save the file as CSV UTF-8."
        ) from None
    if "\0" in text:
        line = text.count("\n", 0, text.index("\0")) + 1
        raise WrongEncoding(f"Line {line}: expected text; there is a NUL character. Save the file as CSV UTF-8.")
    return text


def describe_damage(text: str) -> str | None:
    """Describe the damage that a spreadsheet did to the text of a cell; None if there is none."""
    if text.startswith("="):
        return "a formula; expected its value"
    if _ERROR_VALUE.fullmatch(text):
        return "an error value of a spreadsheet"
    return "a number that a spreadsheet shortened; format the column as text" if _SHORTENED_NUMBER.fullmatch(text) else None


def write_line(values: Iterable[object]) -> str:
    """Return a line of CSV. None is an empty cell, and an object or a list is JSON.

    Spreadsheets run no text in it as a formula, and `read_csv` reads each text back, trimmed. Source: owasp.org, "CSV Injection":
    cells that begin with one of these characters are run.
    """
    out = io.StringIO()
    csv.writer(out, lineterminator="\r\n").writerow(map(_write_cell, values))  # RFC 4180
    return out.getvalue()


def _write_cell(value: object) -> object:
    if isinstance(value, bool | dict | list):
        return orjson.dumps(value).decode()
    if isinstance(value, str) and value.startswith(_FORMULA_STARTS):
        return '="{}"'.format(value.replace('"', '""'))
    return value


def _find_separator(text: str) -> str:
    """Return the most frequent separator in the first line that is not blank."""
    header = next((line for line in text.splitlines() if line.strip()), "")
    return max(_SEPARATORS, key=header.count)


def _read_cell(cell: str) -> str:
    trimmed = trim(cell)
    formula = _TEXT_FORMULA.fullmatch(trimmed)
    return trim(formula[1].replace('""', '"')) if formula else trimmed
