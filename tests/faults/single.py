"""The faults of one machine."""

from tests.faults import clocks, crowds, disks, processes
from tests.faults.scenario import Scenario

SCENARIOS: dict[str, Scenario] = processes.SCENARIOS | disks.SCENARIOS | clocks.SCENARIOS | crowds.SCENARIOS
