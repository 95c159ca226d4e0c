"""The faults of one machine."""

from pathlib import Path
from random import Random
from time import monotonic

from tests.faults.judgement import judge
from tests.faults.scenario import Result, Scenario, Size
from tests.harness.service import serving
from tests.harness.traffic import Traffic


def kill_receiver(directory: Path, size: Size) -> Result:
    """The whole service is killed in the middle of its work, and started again, as often as the time allows."""
    url = f"sqlite:///{directory}/receiver.db"
    chance, rounds, slowest = Random(4), max(2, round(size.seconds / 2)), 0.0
    with serving(directory, url) as service, Traffic(service, senders=size.senders) as traffic:
        for _ in range(rounds):
            traffic.wait_for_answers(chance.randint(50, 1500))
            service.kill()
            began = monotonic()
            service.restart()
            slowest = max(slowest, traffic.recovery_after(began))
        return judge("kill -9 of the receiver", traffic, url, slowest, f"{rounds} times; the slowest recovery")


SCENARIOS: dict[str, Scenario] = {"kill -9 of the receiver": kill_receiver}
