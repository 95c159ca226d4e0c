"""A service under load: every delivery answered 2xx must be in the database at the end."""

import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import NamedTuple

from tests.bench import bare_server, load, peers, service
from tests.bench.databases import Place, Places
from tests.bench.load import Load, Paced, Target
from tests.harness.ports import free_port

WARM_UP_SECONDS = 1
_WEBHOOK = "/webhooks/ship24"
_COMMANDS = {
    "bare": service.python("tests.bench.bare_server"),
    "usual": service.python("tests.bench.usual_handler"),
    "fastify": peers.COMMAND,
    "ours": service.python("receiver", "serve"),
}
_HANDLERS = ("usual", "fastify")


class DrivenService:
    """A service that runs, and what was asked of it. `kind` is a key of what can be started: bare, usual, fastify, ours."""

    def __init__(self, kind: str, place: Place, target: Target, process: service.Process, settings: Mapping[str, str]) -> None:
        self.place = place
        self.settings = settings
        self.process = process
        self.failed = 0
        self.answered = 0
        self.target = target
        self._kind = kind

    def warm_up(self) -> None:
        """Let it compile and open what it needs."""
        self.send(WARM_UP_SECONDS)

    def send(self, seconds: int) -> Load:
        """Send deliveries as fast as they are answered."""
        target = self.target
        done = load.send(target.url, target.token, seconds, target.updates, target.known)
        self._note(done.calls - done.failed, done.failed)
        return done

    def pace(self, rate: float, seconds: float) -> Paced:
        """Send so many deliveries a second."""
        done = load.pace(self.target, rate, seconds)
        self._note(done.answered - done.failed, done.failed)
        return done

    @contextmanager
    def streaming(self, rate: float) -> Iterator[Callable[[], Paced]]:
        """Send so many calls a second until the block calls what it gets, or ends."""
        with load.streaming(self.target, rate) as stop:

            def end() -> Paced:
                done = stop()
                self._note(done.answered - done.failed, done.failed)
                return done

            yield end

    def environment(self) -> dict[str, str]:
        """Return the environment of a command beside it."""
        return service.environment(self.settings)

    def calls_per_commit(self) -> float:
        """Return the mean number of deliveries in a commit so far; the other handlers have one for each."""
        if self._kind != "ours":
            return 1.0
        sums = self.process.read_metrics("receiver_batch_deliveries_sum", "receiver_batch_deliveries_count")
        return sums[0] / max(1.0, sums[1])

    def _note(self, answered: int, failed: int) -> None:
        self.answered += max(0, answered) * self.target.updates
        self.failed += failed


class Totals:
    """What all runs of ours took together: the peak of their memory, and the answers of anybody that were no 2xx."""

    def __init__(self) -> None:
        self.peak_bytes = 0
        self.failed = 0

    @contextmanager
    def drive(self, kind: str, place: Place, updates: int = 1, prefix: Sequence[str] = ()) -> Iterator[DrivenService]:
        """Run a service on a place while the block runs; then see that all that was answered 2xx is kept."""
        token, port = secrets.token_urlsafe(32), free_port()
        settings = _settings(kind, place.url, token, port)
        if kind not in _HANDLERS:
            service.run(["receiver", "migrate"], settings, place.directory)
        last = _find_last(place) if kind == "ours" else ""
        target = Target(f"http://127.0.0.1:{port}{bare_server.PATH if kind == 'bare' else _WEBHOOK}", token, updates, place.known)
        with service.serving(_COMMANDS[kind], settings, place.directory, port, prefix) as process:
            driven = DrivenService(kind, place, target, process, settings)
            yield driven
            process.memory.stop()
        self.failed += driven.failed
        if kind == "ours":
            self.peak_bytes = max(self.peak_bytes, process.memory.peak_bytes)
        if kind != "bare":
            _check(kind, place, last, driven.answered)


class Benchmark(NamedTuple):
    """What every section works with. `tell` is told what is being done; `seconds` is how long a run is measured.

    `has_fastify`: whether that handler can run here.
    """

    places: Places
    totals: Totals
    seconds: int
    tell: Callable[[str], None]
    has_fastify: bool

    def can_run(self, kind: str, *, on_postgresql: bool) -> bool:
        """Tell whether a handler and its database are installed."""
        return (self.has_fastify or kind != "fastify") and (self.places.cluster is not None or not on_postgresql)

    def databases(self) -> list[tuple[str, bool]]:
        """Return the databases that there are: the name, and whether it is PostgreSQL."""
        return [("SQLite", False), ("PostgreSQL", True)] if self.places.cluster else [("SQLite", False)]


def _settings(kind: str, url: str, token: str, port: int) -> Mapping[str, str]:
    if kind in _HANDLERS:
        url = url.replace("postgresql://", "postgresql+psycopg://") if kind == "usual" else url
        return {"DATABASE_URL": url, "TOKEN": token, "PORT": str(port)}
    return {
        "RECEIVER_DATABASE_URL": url,
        "RECEIVER_SHIP24_TOKENS": token,
        "RECEIVER_SHIP24_ALLOWED_IPS": "127.0.0.0/8",
        "RECEIVER_SHIIPP_TOKENS": secrets.token_urlsafe(32),
        "RECEIVER_PORT": str(port),
        "RECEIVER_OPS_TOKENS": secrets.token_urlsafe(32),
    }


def _find_last(place: Place) -> str:
    """Return the last delivery with a message as an SQL literal: a SQLite file holds ids as bytes."""
    quote = "quote" if place.cluster is None else "quote_literal"
    return place.ask(f"SELECT {quote}(coalesce(max(delivery_id), '')) FROM messages")


def _check(kind: str, place: Place, last: str, answered: int) -> None:
    """Ids of deliveries grow with time, so those after the last one are this run's."""
    query = f"SELECT count(*) FROM messages WHERE delivery_id > {last}" if kind == "ours" else "SELECT count(*) FROM message"
    kept = int(place.ask(query))
    if kept < answered:
        raise RuntimeError(f"{kind} on {place.url}: {answered} updates were answered 2xx, only {kept} are kept")
