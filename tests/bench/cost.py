"""What a million messages cost: CPU, disk, network."""

import secrets
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple

from rich import box
from rich.table import Table

from tests.bench import load, resource_use
from tests.bench.cluster import is_open
from tests.bench.filling import copy, fill
from tests.bench.resource_use import Reading
from tests.harness.network import Machine, wired
from tests.harness.postgresql import Cluster, find_binaries
from tests.harness.service import ROOT, SHIP24, TOKEN, Service

_WARM_UP_SECONDS = 2
_WHERE = Path("/var/tmp")  # accounts other than ours reach it: the server has one of its own
_MILLION = 1_000_000
_NEW_INTERPRETER = ("env",)  # a prefix, so that the service is started as in operation


class Extent(NamedTuple):
    """How much is sent: at least `together` messages by 64 clients at once and `alone` by one, each in runs of some seconds.

    `kept` messages are in the databases before.
    """

    kept: int
    together: int
    together_seconds: int
    alone: int
    alone_seconds: int


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


def measure(directory: Path, extent: Extent, tell: Callable[[str], None]) -> list[tuple[Kind, Cost]]:
    """Measure each kind of database that is installed, below a folder."""
    kinds = [kind for kind in _KINDS if find_binaries() is not None or not kind.on_postgresql]
    with tempfile.TemporaryDirectory(prefix="receiver-cost-", dir=directory if is_open(directory) else _WHERE) as name:
        folder = Path(name)
        folder.chmod(0o755)
        costs = []
        for kind in kinds:
            tell(f"cost of a million messages: {kind.name.replace(chr(10), ' ')}")
            costs.append((kind, _measure(folder, kind, extent)))
        return costs


def _measure(folder: Path, kind: Kind, extent: Extent) -> Cost:
    with ExitStack() as ending:
        place = ending.enter_context(_wire())
        cluster = ending.enter_context(_server(place, folder, kind.example)) if kind.on_postgresql else None
        file = folder / f"{secrets.token_hex(4)}.db"
        url = place.do(cluster.create_database, "cost") if cluster is not None else f"sqlite:///{file}"
        service = place.do(Service, folder / secrets.token_hex(4), url, _NEW_INTERPRETER)
        ending.callback(service.close)
        place.do(service.migrate)
        known = _fill(place, service, file, extent.kept, on_server=cluster is not None)
        place.do(service.start)

        def use(enough: int, seconds: int, connections: int) -> Reading:
            """Send for so many seconds, again and again until enough is there; return what that took."""
            before = now = place.do(resource_use.read, place, service, cluster)
            while now.messages - before.messages < enough:
                place.do(load.send, f"{service.url}{SHIP24}", TOKEN, seconds, known=known, connections=connections)
                now = place.do(resource_use.read, place, service, cluster)
            return now.since(before)

        use(1, _WARM_UP_SECONDS, load.CONNECTIONS)
        together = use(extent.together, extent.together_seconds, load.CONNECTIONS)
        return Cost(together, use(extent.alone, extent.alone_seconds, 1))


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


def make_cost_table(costs: Sequence[tuple[Kind, Cost]]) -> Table:
    """Return what a million messages cost by kind of database."""
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1), collapse_padding=True, pad_edge=False, header_style="bold")
    table.add_column("for a million messages")
    for kind, _ in costs:
        table.add_column(kind.name, justify="right", no_wrap=True)
    for name, tell in _LINES:
        table.add_row(name, *(tell(cost) for _, cost in costs))
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


def describe(costs: Sequence[tuple[Kind, Cost]], extent: Extent) -> str:
    """Return a line about how much was sent."""
    counted = ", ".join(f"{cost.together.messages:,.0f} and {cost.alone.messages:,.0f}" for _, cost in costs)
    return f"measured with {counted} messages (64 callers, one caller); {extent.kept / _MILLION:g} M messages were there before"


def read_figures(costs: Sequence[tuple[Kind, Cost]]) -> Iterator[tuple[str, float]]:
    """Give the figures of the report, in GB: databases as they are installed."""
    for kind, cost in costs:
        if kind.example is None:
            name = kind.name.partition("\n")[0]
            yield f"room {name}", _room(cost) * _MILLION / 1e9
            yield f"written {name}", cost.together.each().written_bytes * _MILLION / 1e9
