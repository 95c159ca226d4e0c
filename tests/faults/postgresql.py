"""The faults of PostgreSQL, and of several processes on it."""

from tests.faults.failover import fail_over, lose_standby
from tests.faults.scenario import Scenario
from tests.faults.servers import crash, go_away, restart, turn_read_only
from tests.faults.several import kill_receiver, kill_relay

SCENARIOS: dict[str, Scenario] = {
    "kill -9 of one of two receivers": kill_receiver,
    "kill -9 of one of two relays": kill_relay,
    "PostgreSQL crashes": crash,
    "PostgreSQL restarted": restart,
    "PostgreSQL away for a minute": go_away,
    "PostgreSQL turned read-only": turn_read_only,
    "failover to a synchronous standby": fail_over,
    "synchronous standby gone a while": lose_standby,
}
