"""The faults of one machine."""

from tests.faults import crowds, disks, processes
from tests.faults.scenario import Scenario

SCENARIOS: dict[str, Scenario] = processes.SCENARIOS | disks.SCENARIOS | crowds.SCENARIOS
