"""Processes that are killed or stopped."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from random import Random
from time import monotonic

from tests.faults.scenario import Result, Scenario, Size
from tests.faults.verification import judge
from tests.harness.service import Service, serving


def _kill(service: Service) -> None:
    """The kernel ends the whole service, as `kill -9` and the want of memory do."""
    service.kill()


def _kill_writer(service: Service) -> None:
    """Only the process that writes is killed: the service has to say 503 and end for its supervisor."""
    service.writer().kill()
    assert service.wait() == 1
    assert "writer_lost" in service.logs()


def _ask_to_end(service: Service) -> None:
    """The supervisor asks it to end; it ends by itself and says that all is well."""
    assert service.stop() == 0
    assert "Traceback" not in service.logs()


def _end_under_load(name: str, end: Callable[[Service], None], directory: Path, size: Size) -> Result:
    """End a service in the middle of its work and start it again, as often as the time allows."""
    url = f"sqlite:///{directory}/receiver.db"
    chance, rounds, slowest = Random(4), max(2, round(size.seconds / 2)), 0.0
    with serving(directory, url) as service, size.send_to(service) as traffic:
        for _ in range(rounds):
            traffic.wait_for_answers(chance.randint(50, 1500 if size.is_long else 300))
            harmed = monotonic()
            end(service)
            ended = monotonic()
            service.restart()
            slowest = max(slowest, traffic.recovery_after(ended) + ended - harmed)
        return judge(name, traffic, url, slowest, f"{rounds} times; the slowest, from the signal on")


_ENDS = {
    "kill -9 of the receiver": _kill,
    "kill -9 of its writing process": _kill_writer,
    "SIGTERM during a burst": _ask_to_end,
}

SCENARIOS: dict[str, Scenario] = {name: partial(_end_under_load, name, end) for name, end in _ENDS.items()}
