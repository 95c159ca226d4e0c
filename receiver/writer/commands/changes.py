"""Commands about changes and targets, for relays, their supervisors and operators."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection

from receiver import clock
from receiver.domain.processes import ProcessRow
from receiver.storage.dropping import Dropped, drop_target
from receiver.storage.interventions import (
    ALL_DEAD,
    ChangeKey,
    DeadFilter,
    InterventionStep,
    flush_target,
    pause_target,
    read_flush,
    retry_dead,
)
from receiver.storage.outbox import Exchanged, Outcome, Probe
from receiver.storage.processes import note_processes, remove_process
from receiver.storage.resending import Resent, resend_change
from receiver.storage.suspects import has_suspects, release
from receiver.writer.executor import CommandExecutor, TransactionCommand


@dataclass(frozen=True, slots=True)
class ExchangeChanges(TransactionCommand[Exchanged]):
    """Store the results of attempts, and claim up to `limit` changes for a target (`Outbox.exchange`)."""

    target: str
    mark: str
    now: int
    leased_until: int
    limit: int
    outcomes: Sequence[Outcome] = ()
    probe: Probe | None = None
    suspects: bool | None = None

    def write(self, executor: CommandExecutor, connection: Connection) -> Exchanged:
        return executor.outbox.exchange(
            connection,
            self.target,
            self.mark,
            self.now,
            self.leased_until,
            self.limit,
            self.outcomes,
            self.probe,
            self.suspects,
        )


@dataclass(frozen=True, slots=True)
class ReleaseChanges(TransactionCommand[int]):
    """Release the claims of a relay that has ended, or of an exchange; return the number of suspects among these changes.

    `owner` is the start of a relay's marks, or the mark of the exchange; None means all relays. If one `crashed`, changes of
    these `handlers` become suspects; otherwise they stay suspects (`suspects.release`).
    """

    owner: str | None
    now: int
    handlers: Sequence[str] = ()
    crashed: bool = False

    def write(self, executor: CommandExecutor, connection: Connection) -> int:
        return release(connection, self.owner, self.now, self.handlers, crashed=self.crashed)


@dataclass(frozen=True, slots=True)
class HasSuspects(TransactionCommand[bool]):
    """Tell whether any suspects of these handlers are due."""

    handlers: Sequence[str]
    now: int

    def write(self, executor: CommandExecutor, connection: Connection) -> bool:
        return has_suspects(connection, self.handlers, self.now)


@dataclass(frozen=True, slots=True)
class StopTarget(TransactionCommand[None]):
    """Stop a target: no more changes are claimed for it until it is resumed."""

    target: str
    now: int
    reason: str

    def write(self, executor: CommandExecutor, connection: Connection) -> None:
        executor.outbox.stop(connection, self.target, self.now, self.reason)


@dataclass(frozen=True, slots=True)
class PauseTarget(TransactionCommand[bool]):
    """Pause a target; return False if it is paused or stopped already."""

    target: str
    now: int

    def write(self, executor: CommandExecutor, connection: Connection) -> bool:
        return pause_target(executor.database, connection, self.target, self.now)


@dataclass(frozen=True, slots=True)
class FlushTarget(TransactionCommand[InterventionStep]):
    """Have waiting changes of a target tried at once: a limited number after a key."""

    target: str
    now: int
    after: ChangeKey | None = None

    def write(self, executor: CommandExecutor, connection: Connection) -> InterventionStep:
        return flush_target(executor.database, connection, self.target, self.now, self.after)


@dataclass(frozen=True, slots=True)
class ReadFlush(TransactionCommand[int | None]):
    """Return when an operator last had the changes of a target tried at once."""

    target: str

    def write(self, executor: CommandExecutor, connection: Connection) -> int | None:
        return read_flush(connection, self.target)


@dataclass(frozen=True, slots=True)
class ResumeTarget(TransactionCommand[bool]):
    """Resume a target; return whether it was stopped."""

    target: str

    def write(self, executor: CommandExecutor, connection: Connection) -> bool:
        return executor.outbox.resume(connection, self.target)


@dataclass(frozen=True, slots=True)
class RetryDead(TransactionCommand[InterventionStep]):
    """Queue dead changes of a target again: of a limited number after a key, those that a filter chooses."""

    target: str
    now: int
    only: DeadFilter = ALL_DEAD
    after: ChangeKey | None = None

    def write(self, executor: CommandExecutor, connection: Connection) -> InterventionStep:
        return retry_dead(executor.database, connection, self.target, self.now, self.only, self.after)


@dataclass(frozen=True, slots=True)
class ResendChange(TransactionCommand[Resent]):
    """Queue a change of a tracker again (`resending.resend_change`)."""

    source: str
    tracker_id: str
    target: str | None
    basis: str
    sequence: int | None
    known: Sequence[str]
    now: int

    def write(self, executor: CommandExecutor, connection: Connection) -> Resent:
        change = (self.source, self.tracker_id, self.target, self.basis, self.sequence)
        return resend_change(executor.database, connection, *change, self.known, self.now)


@dataclass(frozen=True, slots=True)
class DropTarget(TransactionCommand[Dropped]):
    """Remove changes of a target, up to a limit for one transaction; return their numbers. Zeros: none are left."""

    target: str

    def write(self, executor: CommandExecutor, connection: Connection) -> Dropped:
        return drop_target(connection, self.target)


@dataclass(frozen=True, slots=True)
class NoteProcesses(TransactionCommand[None]):
    """Store the heartbeat of a process: one row for each of its roles."""

    rows: Sequence[ProcessRow]

    def write(self, executor: CommandExecutor, connection: Connection) -> None:
        note_processes(executor.database, connection, self.rows)


@dataclass(frozen=True, slots=True)
class RemoveProcess(TransactionCommand[None]):
    """Remove the rows of a process that ends."""

    process_id: str

    def write(self, executor: CommandExecutor, connection: Connection) -> None:
        remove_process(connection, self.process_id, clock.to_micros(clock.now()))
