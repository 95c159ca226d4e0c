"""The tables of the benchmark page in the documentation, which `make bench` and `make faults` write."""

import re
from datetime import UTC, date, datetime
from io import StringIO
from pathlib import Path

from rich.console import Console

PAGE = Path(__file__).parents[2] / "docs/explanation/benchmarks.md"
_WIDTH = 80
_TABLE = r"(<!-- written: {title} -->\n```text\n).*?(```\n<!-- end -->)"


def write_table(title: str, *parts: object, page: Path = PAGE, day: date | None = None) -> None:
    """Replace the table of this title by what the parts print, and the day (UTC; by default today).

    A page without such a table stays as it is.
    """
    text = StringIO()
    console = Console(file=text, width=_WIDTH, highlight=False)
    for part in (*parts, f"measured on {day or datetime.now(UTC).date()}"):
        console.print(part)
    lines = "".join(f"{line.rstrip()}\n" for line in text.getvalue().splitlines())
    pattern = re.compile(_TABLE.format(title=re.escape(title)), re.DOTALL)
    page.write_text(pattern.sub(lambda found: found[1] + lines + found[2], page.read_text(encoding="utf-8")), encoding="utf-8")
