"""XLSX workbooks as spreadsheets write them, and with what none should have."""

import io
import zipfile
from collections.abc import Sequence
from xml.sax.saxutils import escape

_MAIN = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
_OFFICE = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
_BOOK = f'<workbook xmlns="{_MAIN}" xmlns:r="{_OFFICE}"><sheets><sheet name="S" sheetId="1" r:id="rId1"/></sheets></workbook>'
_RELATIONS = (
    '<Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships">'
    f'<Relationship Id="rId1" Type="{_OFFICE}/worksheet" Target="worksheets/sheet1.xml"/>'
    f'<Relationship Id="rId2" Type="{_OFFICE}/sharedStrings" Target="sharedStrings.xml"/></Relationships>'
)


def write_workbook(rows: Sequence[Sequence[str]], *, shared: bool = False) -> bytes:
    """Return a workbook with these texts; `shared`: in the part of shared texts."""
    texts = [cell for row in rows for cell in row] if shared else []
    number = iter(range(len(texts)))

    def write(cell: str) -> str:
        return f'<c t="s"><v>{next(number)}</v></c>' if shared else f'<c t="inlineStr"><is><t>{escape(cell)}</t></is></c>'

    lines = "".join(f"<row>{''.join(map(write, row))}</row>" for row in rows)
    parts = "".join(f"<si><t>{escape(text)}</t></si>" for text in texts)
    return write_parts(f"<sheetData>{lines}</sheetData>", parts)


def write_parts(sheet: str, shared: str = "", *, head: str = "") -> bytes:
    """Return a workbook with the content of its sheet and of its shared texts as XML. `head` stands before the sheet."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("xl/workbook.xml", _BOOK)
        archive.writestr("xl/_rels/workbook.xml.rels", _RELATIONS)
        archive.writestr("xl/sharedStrings.xml", f'<sst xmlns="{_MAIN}">{shared}</sst>')
        archive.writestr("xl/worksheets/sheet1.xml", f'{head}<worksheet xmlns="{_MAIN}">{sheet}</worksheet>')
    return out.getvalue()
