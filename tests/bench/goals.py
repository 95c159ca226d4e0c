"""The report: what was wanted, each figure beside what it was. The sections measure them.

`was` are the figures of version 0.2.0, of several runs on one machine.
"""

from collections.abc import Collection, Iterator, Mapping
from typing import NamedTuple

from rich.table import Table

from tests.bench.report import make_table

ALWAYS = ""
_UNMEASURED = "not measured"
_PLAIN = "-"


class Goal(NamedTuple):
    """A row of the report. `section` measures it under the name `key`. `wanted` is None where nothing was asked for.

    `digits` are shown after the point; the exact value is judged. `name` may have a place for the size of the large database.
    """

    key: str
    section: str
    name: str
    was: str
    wanted: float | None
    digits: int = 0
    at_least: bool = False

    def is_reached(self, measured: float) -> bool:
        """Tell whether a figure is as good as wanted."""
        if self.wanted is None:
            return True
        return measured >= self.wanted if self.at_least else measured <= self.wanted

    def cells(self, measured: float | None) -> tuple[str, str, str, str, str]:
        """Return the line of the table."""
        now, verdict = _UNMEASURED, ""
        if measured is not None:
            now = f"{measured:,.{self.digits}f}"
            verdict = "" if self.wanted is None else "yes" if self.is_reached(measured) else "no"
        wanted = _PLAIN if self.wanted is None else f"{'≥' if self.at_least else '≤'} {self.wanted:,.{self.digits}f}"
        return self.name, self.was, now, wanted, verdict


GOALS = (
    Goal("ours/usual sqlite", "cases", "SQLite, times the usual handler", "11.1-12.8", 15, 1, at_least=True),
    Goal("ours/fastify sqlite", "cases", "SQLite, times Fastify", _PLAIN, None, 1, at_least=True),
    Goal("ours/bare sqlite", "cases", "SQLite, of the bare server", "0.26-0.31", 0.4, 2, at_least=True),
    Goal("ours/usual postgresql", "cases", "PostgreSQL, times the usual handler", "8.8-13.4", 14, 1, at_least=True),
    Goal("ours/fastify postgresql", "cases", "PostgreSQL, times Fastify", _PLAIN, None, 1, at_least=True),
    Goal("ours/bare postgresql", "cases", "PostgreSQL, of the bare server", "0.20", None, 2, at_least=True),
    Goal("grouped/bare", "cases", "100 a call, messages per bare call", "0.42-0.53", 0.8, 2, at_least=True),
    Goal("large/empty", "cases", "{large} kept, of the empty rate", "0.62-0.71", 0.9, 2, at_least=True),
    Goal("living/empty", "cases", "  living parcels", _PLAIN, 0.9, 2, at_least=True),
    Goal("half SQLite", "rates", "p99 at half rate, SQLite, ms", "14-26", 15, 1),
    Goal("half PostgreSQL", "rates", "  PostgreSQL, ms", "11-20", 15, 1),
    Goal("room SQLite", "cost", "room per million messages, SQLite, GB", "3.3", 1.5, 2),
    Goal("room PostgreSQL", "cost", "  PostgreSQL, GB", "3.8", 1.5, 2),
    Goal("written SQLite", "cost", "written per million, SQLite, GB", "53.6", 25, 1),
    Goal("written PostgreSQL", "cost", "  PostgreSQL, GB", "19", 12, 1),
    Goal("claim SQLite", "claims", "claim behind failed heads, SQLite, p99 ms", "700-2,000", 3, 1),
    Goal("claim PostgreSQL", "claims", "  PostgreSQL, p99 ms", "700-2,000", 3, 1),
    Goal("held", "loop", "loop held by the largest allowed call, ms", "110-830", 20, 0),
    Goal("memory", "cases", "memory of service and writer, MiB", "188", 180),
    Goal("slowest SQLite", "beside", "slowest query beside, SQLite, p99 ms", "50", 50, 1),
    Goal("slowest PostgreSQL", "beside", "  PostgreSQL, p99 ms", "80", 50, 1),
    Goal("backup times", "backup", "p99 beside a backup, times that without", "1.3-1.9", 2, 1),
    Goal("backup WAL", "backup", "  largest WAL, MiB", "45", 64),  # where the writing process empties it before it goes on
    Goal("failed", ALWAYS, "answers other than 2xx, all runs", "0", 0),
)


def make_goals_table(measured: Mapping[str, float], sections: Collection[str], large: int) -> Table:
    """Return the rows of these sections; `large` is the size of a large database."""
    table = make_table(("what",), ("was", "now", "wanted", ""))
    for goal in _of_sections(sections):
        name, *cells, verdict = goal.cells(measured.get(goal.key))
        colour = "green" if verdict == "yes" else "red"
        table.add_row(name.format(large=f"{large / 1e6:g} M"), *cells, f"[{colour}]{verdict}[/]" if verdict else "")
    return table


def find_missing(measured: Mapping[str, float], sections: Collection[str]) -> list[str]:
    """Return the rows of these sections that have no figure."""
    return [goal.name.strip() for goal in _of_sections(sections) if goal.key not in measured]


def _of_sections(sections: Collection[str]) -> Iterator[Goal]:
    return (goal for goal in GOALS if goal.section == ALWAYS or goal.section in sections)
