"""A fault of three PostgreSQL servers that Patroni manages: the primary's host is gone, and a standby is promoted by itself."""

from pathlib import Path
from time import monotonic

from tests.faults.postgresql_server import let_pass
from tests.faults.scenario import Lacking, Result, Size
from tests.faults.verification import judge
from tests.harness.isolated_host import NoIsolatedHost, isolated_host
from tests.harness.patroni import find_missing, patroni_cluster
from tests.harness.postgresql import folder_for_servers
from tests.harness.service import serving


def vanish(directory: Path, size: Size) -> Result:
    """The primary's host answers nothing any more under load. Later it returns with its old data and follows the new primary."""
    if missing := find_missing():
        raise Lacking(f"{missing} is not installed (Debian packages: patroni, etcd-server, postgresql)")
    try:
        with (
            isolated_host() as host,
            folder_for_servers() as folder,
            patroni_cluster(folder, host) as cluster,
            serving(directory, cluster.url) as service,
            size.send_to(service) as traffic,
        ):
            old = cluster.members[0]
            let_pass(size.seconds / 4)
            host.vanish()
            gone = monotonic()
            new = cluster.wait_for_primary(other_than=old)
            promoted = monotonic()
            recovery = promoted - gone + traffic.recovery_after(promoted)
            host.come_back()
            old.wait_until_running("replica")
            cluster.wait_for_standby(new)
            let_pass(size.seconds / 4)
            note = f"from the loss of the host on; a standby was promoted after {promoted - gone:.0f} s"
            return judge("Patroni: the primary's host gone", traffic, cluster.url, recovery, note)
    except NoIsolatedHost as reason:
        raise Lacking(str(reason)) from None
