"""Commands that prune old content, remove tests, and erase personal data."""

from dataclasses import dataclass
from time import monotonic

from sqlalchemy import Connection

from receiver.domain.erasure import Erasure, StoredBody
from receiver.domain.retention import PruneBatch, PruneStep
from receiver.storage.erasure import erase, forget_tracker
from receiver.storage.run_removal import RemovedTests, remove_tests
from receiver.writer.executor import CommandExecutor, TransactionCommand


@dataclass(frozen=True, slots=True)
class ClaimPruning(TransactionCommand[None]):
    """Claim the pruning of this database for one lease. Raises AlreadyRunning if another run has it."""

    mark: str
    now: int

    def write(self, executor: CommandExecutor, connection: Connection) -> None:
        executor.retention.claim_pruning(connection, self.mark, self.now)


@dataclass(frozen=True, slots=True)
class RenewPruning(TransactionCommand[None]):
    """Extend the lease of a run. Raises AlreadyRunning if its claim is lost."""

    mark: str
    now: int

    def write(self, executor: CommandExecutor, connection: Connection) -> None:
        executor.retention.renew_pruning(connection, self.mark, self.now)


@dataclass(frozen=True, slots=True)
class ReleasePruning(TransactionCommand[None]):
    """Give up the claim of a run."""

    mark: str

    def write(self, executor: CommandExecutor, connection: Connection) -> None:
        executor.retention.release_pruning(connection, self.mark)


@dataclass(frozen=True, slots=True)
class Prune(TransactionCommand[PruneBatch]):
    """Prune one step of a run. Raises AlreadyRunning if its claim is lost."""

    mark: str
    now: int
    step: PruneStep

    def execute(self, executor: CommandExecutor) -> PruneBatch:
        """Prune, and measure the time for which deliveries had to wait, including the commit."""
        began = monotonic()
        return executor.transact(self)._replace(seconds=monotonic() - began)

    def write(self, executor: CommandExecutor, connection: Connection) -> PruneBatch:
        return executor.retention.prune(connection, self.mark, self.now, *self.step)


@dataclass(frozen=True, slots=True)
class RemoveTests(TransactionCommand[RemovedTests]):
    """Remove some trackers or deliveries of a run of a test, or of all tests. (0, 0): nothing is left."""

    run: str | None

    def write(self, executor: CommandExecutor, connection: Connection) -> RemovedTests:
        return remove_tests(connection, executor.database, self.run)


@dataclass(frozen=True, slots=True)
class ForgetTracker(TransactionCommand[None]):
    """Erase the shipment block of a tracker, and the errors of its `failures`: target and number of the change."""

    source: str
    tracker_id: str
    failures: tuple[tuple[str, int], ...]

    def write(self, executor: CommandExecutor, connection: Connection) -> None:
        forget_tracker(connection, self.source, self.tracker_id, self.failures)


@dataclass(frozen=True, slots=True)
class Erase(TransactionCommand[bool]):
    """Erase personal data from a delivery as planned; return False if the delivery has changed since it was read."""

    as_read: StoredBody
    erasure: Erasure

    def write(self, executor: CommandExecutor, connection: Connection) -> bool:
        return erase(connection, executor.database, self.as_read, self.erasure)
