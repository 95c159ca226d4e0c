"""How long a call takes at a steady rate: at a quarter, half and three quarters of what was kept at full speed just before.

Two more lines show that the figures can be believed: the same client on the bare server, and there with a halt in the middle,
which has to be seen.
"""

from collections.abc import Iterator, Sequence
from threading import Timer
from time import sleep
from typing import NamedTuple

from rich.table import Table

from tests.bench.driven_service import Benchmark
from tests.bench.load import LEAD_SECONDS, Paced
from tests.bench.report import make_table, write_milliseconds
from tests.bench.service import Process

_SHARES = (0.25, 0.5, 0.75)
HALT_SECONDS = 0.3


class Line(NamedTuple):
    """One run; `share` of the rate at full speed."""

    name: str
    kind: str
    share: float
    paced: Paced


def measure(bench: Benchmark) -> list[Line]:
    """Run the bare server, then ours on each database."""
    lines = list(_check_client(bench))
    for name, on_postgresql in bench.databases():
        with bench.places.fresh(on_postgresql=on_postgresql) as place, bench.totals.drive("ours", place) as driven:
            bench.tell(f"steady rates: {name}, full speed")
            driven.warm_up()
            rate = driven.send(bench.seconds).rate
            for share in _SHARES:
                bench.tell(f"steady rates: {name}, {share:.0%}")
                lines.append(Line(name, "ours", share, driven.pace(rate * share, bench.seconds)))
    return lines


def _check_client(bench: Benchmark) -> Iterator[Line]:
    bench.tell("steady rates: the bare server")
    with bench.places.fresh(on_postgresql=False) as place, bench.totals.drive("bare", place) as driven:
        driven.warm_up()
        rate = driven.send(bench.seconds).rate / 2
        yield Line("bare server", "bare", 0.5, driven.pace(rate, bench.seconds))
        halt = Timer(LEAD_SECONDS + bench.seconds / 2, _halt, [driven.process])
        halt.start()
        yield Line("bare, halted", "bare", 0.5, driven.pace(rate, bench.seconds))
        halt.join()


def _halt(process: Process) -> None:
    with process.halted():
        sleep(HALT_SECONDS)


def make_pacing_table(lines: Sequence[Line]) -> Table:
    """Return rates and durations by line."""
    names = ("of full\nspeed", "wanted\ncalls/s", "reached\ncalls/s", "p50\nms", "p99\nms", "p99.9\nms", "max\nms", "calls")
    table = make_table(("",), names)
    for line in lines:
        paced = line.paced
        _, *durations = paced.latency
        table.add_row(
            line.name,
            f"{line.share:.0%}",
            f"{paced.wanted:,.0f}",
            f"{paced.reached:,.0f}",
            *map(write_milliseconds, durations),
            f"{paced.latency.calls:,}",
        )
    return table


def read_figures(lines: Sequence[Line]) -> Iterator[tuple[str, float]]:
    """Give the p99 of the report, in ms: at half the rate."""
    for line in lines:
        if line.kind == "ours" and line.share == 0.5:
            yield f"half {line.name}", line.paced.latency.p99_ms
