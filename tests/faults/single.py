"""The faults of one machine."""

from tests.faults.scenario import Scenario

SCENARIOS: dict[str, Scenario] = {}
