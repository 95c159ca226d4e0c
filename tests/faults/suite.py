"""All faults: of one machine, of PostgreSQL, and of several processes on it."""

from tests.faults import clients, clocks, disks, patroni, processes, reconciliation, recovery
from tests.faults.failover import crash as crash_primary
from tests.faults.failover import lose_standby, vanish
from tests.faults.postgresql_server import crash, fill_disk, go_away, restart, turn_read_only
from tests.faults.scenario import Scenario
from tests.faults.several_processes import kill_receiver, kill_relay

SCENARIOS: dict[str, Scenario] = {
    **processes.SCENARIOS,
    **disks.SCENARIOS,
    **clocks.SCENARIOS,
    **clients.SCENARIOS,
    "kill -9 of one of two receivers": kill_receiver,
    "kill -9 of one of two relays": kill_relay,
    "PostgreSQL crashes": crash,
    "PostgreSQL restarted": restart,
    "PostgreSQL away for a minute": go_away,
    "PostgreSQL turned read-only": turn_read_only,
    "PostgreSQL's disk full": fill_disk,
    "failover to a synchronous standby": crash_primary,
    "failover from a host that vanished": vanish,
    "synchronous standby gone a while": lose_standby,
    **recovery.SCENARIOS,
    **reconciliation.SCENARIOS,
}

LONG_SCENARIOS: dict[str, Scenario] = {"Patroni: the primary's host gone": patroni.vanish}
"""Faults that take minutes in any form: the times of others decide."""
