"""`python -m tests.bench.cost` prints what a million messages cost: CPU, disk, network."""

import argparse
import secrets
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple

from rich import box
from rich.console import Console
from rich.table import Table

from tests.bench import load, machine, report, resource_use
from tests.bench.filling import copy, fill
from tests.bench.page import write_table
from tests.bench.resource_use import Reading
from tests.harness.network import HERE, Machine, wired
from tests.harness.postgresql import Cluster, find_binaries
from tests.harness.service import ROOT, SHIP24, TOKEN, Service

_MESSAGES = 80_000
_SLICE_SECONDS = 4
_WARM_UP_SECONDS = 2
_ALONE = 4_000
_ALONE_SECONDS = 8
_WHERE = Path("/var/tmp")  # accounts other than ours reach it: the server has one of its own
_MILLION = 1_000_000


class Kind(NamedTuple):
    """A database to measure; `example` is a configuration for it."""

    name: str
    on_postgresql: bool
    example: Path | None = None


class Cost(NamedTuple):
    """The resources used with 64 concurrent clients, and with one that waits for each answer."""

    together: Reading
    alone: Reading


_KINDS = (
    Kind("SQLite", on_postgresql=False),
    Kind("PostgreSQL\nas installed", on_postgresql=True),
    Kind("PostgreSQL\nour example", on_postgresql=True, example=ROOT / "config" / "postgresql.conf"),
)


def print_cost(messages: int, kept: int, where: Path, *, on_page: bool) -> None:
    """Measure and print. `kept` messages are in the databases before; at least `messages` are added by 64 clients at once.

    With `on_page` also write the table into the documentation.
    """
    console = Console(highlight=False)
    with tempfile.TemporaryDirectory(prefix="receiver-cost-", dir=where) as name:
        folder = Path(name)
        folder.chmod(0o755)
        facts = list(machine.describe(folder))
        console.print(report.machine_table(facts))
        kinds = [kind for kind in _KINDS if find_binaries() is not None or not kind.on_postgresql]
        costs = []
        for kind in kinds:
            with console.status(kind.name.replace("\n", " ")):
                costs.append(_measure(folder, kind, messages, kept))
        before = f"{kept / _MILLION:g} M messages were there before" if kept else "the databases were empty before"
        counted = ", ".join(f"{cost.together.messages:,.0f} and {cost.alone.messages:,.0f}" for cost in costs)
        parts = _table(kinds, costs), f"measured with {counted} messages (64 callers, one caller); {before}"
        for part in parts:
            console.print(part)
        if on_page:
            write_table("Cost of a million messages", *parts, "", report.machine_table(facts))


def _measure(folder: Path, kind: Kind, messages: int, kept: int) -> Cost:
    with ExitStack() as ending:
        place = ending.enter_context(_wire())
        cluster = ending.enter_context(_server(place, folder, kind.example)) if kind.on_postgresql else None
        file = folder / f"{secrets.token_hex(4)}.db"
        url = place.do(cluster.create_database, "cost") if cluster is not None else f"sqlite:///{file}"
        service = place.do(Service, folder / secrets.token_hex(4), url, HERE)
        ending.callback(service.close)
        place.do(service.migrate)
        known = _fill(place, service, file, kept, on_server=cluster is not None) if kept else None
        place.do(service.start)

        def use(enough: int, seconds: int, connections: int) -> Reading:
            """Send for so many seconds, again and again until enough is there; return what that took."""
            before = now = place.do(resource_use.read, place, service, cluster)
            while now.messages - before.messages < enough:
                place.do(load.send, f"{service.url}{SHIP24}", TOKEN, seconds, known=known, connections=connections)
                now = place.do(resource_use.read, place, service, cluster)
            return now.since(before)

        return _use(use, messages)


def _use(use: Callable[[int, int, int], Reading], messages: int) -> Cost:
    use(1, _WARM_UP_SECONDS, load.CONNECTIONS)
    together = use(messages, _SLICE_SECONDS, load.CONNECTIONS)
    return Cost(together, use(_ALONE, _ALONE_SECONDS, 1))


def _fill(place: Machine, service: Service, file: Path, kept: int, *, on_server: bool) -> Path:
    """Fill the service's database with messages; return the file that names some of its trackers."""
    known = service.directory / "known"
    if not on_server:
        fill(file, kept, known)
        return known
    other = place.do(Service, service.directory / "filled", f"sqlite:///{file}")
    place.do(other.migrate)
    fill(file, kept, known)
    place.do(copy, file, service.database_url)
    file.unlink()
    return known


@contextmanager
def _wire() -> Iterator[Machine]:
    """Give a machine with its own loopback, if namespaces are available."""
    with wired() as wire:
        yield wire.plug_in("bench", "10.0.0.1")


@contextmanager
def _server(place: Machine, folder: Path, example: Path | None) -> Iterator[Cluster]:
    """Run a server of its own on that machine."""
    directory = folder / secrets.token_hex(4)
    cluster = place.do(Cluster.create, directory)
    if example is not None:
        own = example.read_text(encoding="utf-8").replace("'10.0.0.21'", "'127.0.0.1'")
        with (directory / "data" / "postgresql.auto.conf").open("a", encoding="utf-8") as file:
            file.write(own)
    try:
        place.do(cluster.start)
        yield cluster
    finally:
        place.do(cluster.stop, "immediate")


def _table(kinds: Sequence[Kind], costs: Sequence[Cost]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1), collapse_padding=True, pad_edge=False, header_style="bold")
    table.add_column("for a million messages")
    for kind in kinds:
        table.add_column(kind.name, justify="right", no_wrap=True)
    for name, tell in _LINES:
        table.add_row(name, *(tell(cost) for cost in costs))
    return table


def _seconds(value: float) -> str:
    return f"{value * _MILLION:,.0f} s"


def _size(value: float) -> str:
    return f"{value * _MILLION / 1e9:,.2f} GB" if value else "-"


_LINES: Sequence[tuple[str, Callable[[Cost], str]]] = (
    ("CPU, 64 callers at once", lambda cost: _seconds(cost.together.each().cpu_seconds)),
    ("  service", lambda cost: _seconds(cost.together.each().service_seconds)),
    ("  its writing process", lambda cost: _seconds(cost.together.each().writer_seconds)),
    ("  PostgreSQL", lambda cost: _seconds(cost.together.each().server_seconds)),
    ("CPU, one caller", lambda cost: _seconds(cost.alone.each().cpu_seconds)),
    ("room on the disk", lambda cost: _size(_room(cost))),
    ("  bodies and answers", lambda cost: _size(cost.together.each().bodies_bytes)),
    ("  all other rows", lambda cost: _size(cost.together.each().rows_bytes)),
    ("  indexes", lambda cost: _size(cost.together.each().index_bytes)),
    ("written, 64 callers", lambda cost: _size(cost.together.each().written_bytes)),
    ("  of it PostgreSQL's log", lambda cost: _size(cost.together.each().wal_bytes)),
    ("written, one caller", lambda cost: _size(cost.alone.each().written_bytes)),
    ("network, 64 callers", lambda cost: _size(cost.together.each().network_bytes)),
)


def _room(cost: Cost) -> float:
    each = cost.together.each()
    return each.bodies_bytes + each.rows_bytes + each.index_bytes


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.cost", description="Measure what a million messages cost.")
    parser.add_argument("--messages", type=int, default=_MESSAGES, help=f"how many are sent by 64 callers ({_MESSAGES})")
    parser.add_argument("--kept", type=int, default=0, help="how many are in the databases before (0)")
    parser.add_argument("--directory", type=Path, default=_WHERE, help=f"where the databases are made and removed ({_WHERE})")
    parser.add_argument("--write", action="store_true", help="write the table into docs/explanation/benchmarks.md, too")
    given = parser.parse_args()
    print_cost(given.messages, given.kept, given.directory, on_page=given.write)


if __name__ == "__main__":
    main()
