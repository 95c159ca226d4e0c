"""How fast operators are answered from a large database, alone or beside deliveries at half of full speed."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from random import Random
from time import perf_counter, sleep
from typing import NamedTuple

from rich.table import Table

from receiver.storage.database import Database
from tests.bench.driven_service import Benchmark
from tests.bench.figures import Latency, summarise
from tests.bench.load import Paced
from tests.bench.read_endpoints import Asker, ReadEndpoint
from tests.bench.report import make_table

WANTED_MS = 50.0
_UNMEASURED = 10  # statements are compiled, and prepared after some executions


class Answers(NamedTuple):
    """How long the answers of one database took, in microseconds by question; and the calls beside them: how many it kept at full
    speed, and what became of half of that.
    """

    micros: Mapping[str, Sequence[float]]
    full_rate: float = 0.0
    beside: Paced | None = None


Results = Mapping[str, Answers]
_Rest = Callable[[float], object]


def measure_beside(bench: Benchmark, times: int) -> Results:
    """Ask each database each question so many times while calls come in; half of the time, as the machine is theirs too."""
    results = {}
    for name, on_postgresql in bench.databases():
        bench.tell(f"questions: the large database, {name}")
        place = bench.places.filled(on_postgresql=on_postgresql)
        place.read_indexes()
        with _asking(place.url) as questions, bench.totals.drive("ours", place) as driven:
            driven.warm_up()
            rate = driven.send(bench.seconds).rate
            with driven.streaming(rate / 2) as end:
                micros = _ask_all(bench, questions, times, f"questions beside calls, {name}", rest=sleep)
                beside = end()
        results[name] = Answers(micros, rate, beside)
    return results


def measure_alone(bench: Benchmark, times: int) -> Results:
    """Ask each database each question so many times, and nothing else."""
    results = {}
    for name, on_postgresql in bench.databases():
        bench.tell(f"questions: the large database, {name}")
        place = bench.places.filled(on_postgresql=on_postgresql)
        with _asking(place.url) as questions:
            results[name] = Answers(_ask_all(bench, questions, times, f"questions, {name}", rest=lambda _: None))
    return results


@contextmanager
def _asking(url: str) -> Iterator[Sequence[ReadEndpoint]]:
    """Give the questions for a database; to draw their parameters takes a while."""
    database = Database(url)
    try:
        yield Asker(database).questions()
    finally:
        database.close()


def _ask_all(
    bench: Benchmark, questions: Sequence[ReadEndpoint], times: int, doing: str, rest: _Rest
) -> Mapping[str, Sequence[float]]:
    group, micros = "", {}
    for question in questions:
        group = group if question.name.startswith(" ") else question.name
        name = question.name if question.name == group else f"{group}:{question.name}"
        bench.tell(f"{doing}: {name}")
        micros[name] = _ask(question, times, rest)
    return micros


def _ask(question: ReadEndpoint, times: int, rest: _Rest) -> Sequence[float]:
    """Return how long each answer took. After each there is a rest of as long."""
    draw = Random(question.name)
    for _ in range(_UNMEASURED):
        question.ask(draw)
    took = []
    for _ in range(times):
        began = perf_counter()
        question.ask(draw)
        seconds = perf_counter() - began
        took.append(seconds * 1e6)
        rest(seconds)
    return took


class Group(NamedTuple):
    """Questions that belong together: how long any of them took, and the p99 of the slowest one."""

    name: str
    questions: int
    latency: Latency
    worst_p99_ms: float


def group(micros: Mapping[str, Sequence[float]]) -> list[Group]:
    """Return the groups in their order; `group:  question` names the members after the first."""
    members: dict[str, dict[str, Sequence[float]]] = {}
    for name, took in micros.items():
        members.setdefault(name.partition(":  ")[0].partition(" ")[0], {})[name] = took
    return [_summarise(name, questions) for name, questions in members.items()]


def _summarise(name: str, questions: Mapping[str, Sequence[float]]) -> Group:
    together = summarise([one for took in questions.values() for one in took])
    return Group(name, len(questions), together, max(_p99s(questions).values()))


def _p99s(micros: Mapping[str, Sequence[float]]) -> dict[str, float]:
    return {question: summarise(took).p99_ms for question, took in micros.items()}


def make_groups_table(results: Results) -> Table:
    """Return each group's median, and the p99 of its slowest question, by database; below, the slowest of all."""
    table = make_table(("", ""), [f"{name}\n{figure}" for name in results for figure in ("p50 ms", "p99 ms", "slowest")])
    columns = [group(answers.micros) for answers in results.values()]
    for row in zip(*columns, strict=True):
        figures = [(f"{part.latency.p50_ms:.1f}", f"{part.latency.p99_ms:.1f}", f"{part.worst_p99_ms:.1f}") for part in row]
        table.add_row(row[0].name, f"{row[0].questions}", *(cell for cells in figures for cell in cells))
    return table


def make_questions_table(results: Results) -> Table:
    """Return all questions by database, and which are slower than wanted."""
    table = make_table(("",), [*(f"{name}\n{share} ms" for name in results for share in ("p50", "p99")), ""])
    first, *_ = results.values()
    for name in first.micros:
        times = [summarise(answers.micros[name]) for answers in results.values()]
        cells = [f"{value:.1f}" for time in times for value in (time.p50_ms, time.p99_ms)]
        reached = all(time.p99_ms <= WANTED_MS for time in times)
        table.add_row(_indent(name), *cells, "" if reached else "[red]slow[/]")
    return table


def _spell(name: str) -> str:
    """Return the name of a question by itself."""
    return name.replace(":  ", " ")


def _indent(name: str) -> str:
    group_, _, rest = name.partition(":  ")
    return f"  {rest}" if rest else group_


def describe(results: Results) -> list[str]:
    """Return lines about the slowest query of each database, and about the deliveries beside."""
    lines = []
    for name, answers in results.items():
        slow = [f"{_spell(question)} {p99:.0f}" for question, p99 in _p99s(answers.micros).items() if p99 > WANTED_MS]
        lines.append(f"{name}: p99 above {WANTED_MS:g} ms: {', '.join(slow) or 'none'}")
        if answers.beside is not None:
            paced = answers.beside
            rates = f"{paced.reached:,.0f} of {paced.wanted:,.0f} calls/s"
            lines.append(f"  beside: {rates}, p50 {paced.latency.p50_ms:.1f} ms, p99 {paced.latency.p99_ms:.1f} ms")
            lines.append(f"  full speed was {answers.full_rate:,.0f} calls/s")
    return lines


def read_figures(results: Results) -> Iterator[tuple[str, float]]:
    """Give the p99 of the slowest query of each database, in ms."""
    for name, answers in results.items():
        yield f"slowest {name}", max(part.worst_p99_ms for part in group(answers.micros))
