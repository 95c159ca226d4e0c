"""The faults of PostgreSQL and of the relay."""

from tests.faults.scenario import Scenario

SCENARIOS: dict[str, Scenario] = {}
