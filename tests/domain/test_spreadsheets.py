"""CSV for spreadsheets: no cell is a formula."""

import csv
import io

import pytest

from receiver.domain.spreadsheets import read_csv, write_line


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20"])
def test_text_that_starts_like_a_formula_is_written_as_a_text_and_read_back_trimmed(start: str) -> None:
    text = f'{start}HYPERLINK("1")'
    line = write_line([text, "after"])
    assert list(csv.reader(io.StringIO(line, newline=""))) == [['="{}"'.format(text.replace('"', '""')), "after"]]
    ((_, cells),) = read_csv(line.encode())
    assert cells == [text.strip(), "after"]


def test_other_cells_are_written_as_they_are() -> None:
    line = write_line(["a=b", 'quote " and, comma', "two\r\nlines", -5, 0.5, None, True, {"a": [1]}])
    assert list(csv.reader(io.StringIO(line, newline=""))) == [
        ["a=b", 'quote " and, comma', "two\r\nlines", "-5", "0.5", "", "true", '{"a":[1]}']
    ]
    assert line.endswith("\r\n")
