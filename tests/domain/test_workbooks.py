"""XLSX workbooks: the rows as texts, and what may not take time or memory."""

import io
import zipfile
from pathlib import Path

import pytest

from receiver.domain import workbooks
from receiver.domain.spreadsheets import Row
from receiver.domain.workbooks import is_workbook, read_xlsx
from receiver.errors import UnexpectedShape
from tests.harness.table import each_row
from tests.harness.workbook import write_parts, write_workbook

WRITTEN = Path(__file__).parents[1] / "payloads" / "shiipp" / "packages-written-by-openpyxl.xlsx"


def rows_of(sheet: str, shared: str = "") -> list[list[str]]:
    return [row.cells for row in read_xlsx(write_parts(f"<sheetData>{sheet}</sheetData>", shared))]


def test_a_workbook_of_a_library_has_its_texts_numbers_dates_and_formulas() -> None:
    header, first, second, formula = read_xlsx(WRITTEN.read_bytes())
    assert header.cells[:3] == ["User Code", "Package ID", "Tracking Number"]
    assert first.cells[2:] == ["00123456", "H-1", "2.5", "2026-11-20T09:30:00", "MAN-20261120-A1B2", "shipped"]
    assert second.cells[2:6] == ["TN2", "", "3", "2026-11-21"]
    assert (formula.line, formula.cells[0]) == (5, '=A2&"x"')


@pytest.mark.parametrize("shared", [False, True])
def test_texts_stand_in_cells_or_in_a_part_of_their_own(shared: bool) -> None:
    content = write_workbook([["A", "B"], [" 1 ", "<&>"], ["", ""], ['="007"', "😀"]], shared=shared)
    assert list(read_xlsx(content)) == [Row(1, ["A", "B"]), Row(2, ["1", "<&>"]), Row(4, ["007", "😀"])]


@each_row(
    "cell, text",
    [
        ('<c r="C1"><v>5</v></c>', ["", "", "5"]),
        ('<c t="b"><v>1</v></c>', ["TRUE"]),
        ('<c t="e"><v>#N/A</v></c>', ["#N/A"]),
        ("<c><f/><v>3</v></c>", ["="]),
        ("<c><v>1.23E+19</v></c>", ["1.23E+19"]),
        ('<c t="s"><v>0</v></c>', ["ab"]),
        ('<c t="str"><v>x</v></c>', ["x"]),
        ('<c t="inlineStr"><is><r><t>a</t></r><r><t>b</t></r></is></c>', ["ab"]),
    ],
)
def test_a_cell_is_its_text(cell: str, text: list[str]) -> None:
    assert rows_of(f"<row>{cell}</row>", "<si><r><t>a</t></r><r><t>b</t></r><rPh><t>read aloud</t></rPh></si>") == [text]


@each_row(
    "sheet, words",
    [
        ('<row><c r="ZZZ1"><v>1</v></c></row>', "at most 500 columns"),
        ("<row><c><v>1</v></c></row>" * 2 + "<row", "damaged"),
        ('<row><c t="s"><v>9</v></c></row>', "damaged"),
        ('<row r="x"><c><v>1</v></c></row>', "damaged"),
    ],
)
def test_what_no_spreadsheet_writes_is_refused(sheet: str, words: str) -> None:
    with pytest.raises(UnexpectedShape, match=words):
        rows_of(sheet)


def test_a_huge_cell_is_cut_while_it_is_read() -> None:
    ((cell,),) = rows_of(f"<row><c t='inlineStr'><is><t>{'x' * 2_000_000}</t></is></c></row>")
    assert 32_767 < len(cell) < 2_000_000


def test_a_document_type_is_refused_whatever_it_declares() -> None:
    head = '<!DOCTYPE a [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;">]>'
    with pytest.raises(UnexpectedShape, match="document type"):
        list(read_xlsx(write_parts("<sheetData><row><c><v>&b;</v></c></row></sheetData>", head=head)))


def test_what_inflates_without_end_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workbooks, "_MAX_INFLATED_BYTES", 2**20)
    content = write_parts(f"<sheetData>{' ' * 2**22}</sheetData>")
    assert len(content) < 2**14
    with pytest.raises(UnexpectedShape, match="inflated, it is larger"):
        list(read_xlsx(content))


def test_too_many_texts_and_too_many_parts_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workbooks, "_MAX_SHARED_TEXTS", 10)
    with pytest.raises(UnexpectedShape, match="too many texts"):
        list(read_xlsx(write_parts("", "<si/>" * 11)))
    monkeypatch.setattr(workbooks, "_MAX_PARTS", 3)
    with pytest.raises(UnexpectedShape, match="at most 3 parts"):
        list(read_xlsx(write_parts("")))


def test_an_archive_that_is_no_workbook_is_refused() -> None:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("other.txt", "no workbook")
    assert is_workbook(out.getvalue())
    with pytest.raises(UnexpectedShape, match="no XLSX"):
        list(read_xlsx(out.getvalue()))
    assert not is_workbook(b"Package ID\n1\n")
