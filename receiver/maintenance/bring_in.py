"""Bring in a delivery that never came: the body as the sender would have sent it."""

from collections.abc import Callable, Sequence

from receiver import clock
from receiver.domain.imports import ACTION, Imported, ImportRequest
from receiver.domain.records import Delivery, UnreadDelivery
from receiver.errors import BodyTooLarge, UnexpectedShape
from receiver.maintenance.execution import MakeEntry
from receiver.sources import Source
from receiver.writer.commands.imports import ImportDelivery
from receiver.writer.executor import Do

_APART_MICROS = 1000  # between two bodies of one file
_SKEW_MICROS = 60_000_000  # by which an operator's clock may be ahead of ours


class DeliveryImport:
    """Brings in deliveries. `do` executes a command; `note` is called after each one that is not a dry run."""

    def __init__(
        self, do: Do, sources: Sequence[Source], max_body_bytes: int, note: Callable[[Imported], None] = lambda _imported: None
    ) -> None:
        self.sources = sources
        self.max_body_bytes = max_body_bytes
        self._do = do
        self._note = note

    async def bring_in(self, make_entry: MakeEntry, request: ImportRequest) -> Imported:
        """Decide and store a body as a webhook is, or with `dry_run` only find out what that would change.

        Raises BodyTooLarge, UnexpectedShape, InvalidJson or StorageUnavailable; then nothing was stored.
        """
        source = self._find_source(request.source, request.kind)
        if request.body is None or len(request.body) > self.max_body_bytes:
            raise BodyTooLarge(f"Expected a body of at most {self.max_body_bytes} bytes (RECEIVER_MAX_BODY_BYTES).")
        now = clock.now()
        received_at = clock.to_micros(now)
        if request.sent_at is not None and request.sent_at > received_at + _SKEW_MICROS:
            raise UnexpectedShape("The time when the body was first sent is in the future.")
        entry = make_entry(now, ACTION, clock.new_id(now), None)
        delivery = Delivery(
            id=entry.subject,
            source=source.name,
            kind=source.kind,
            method="POST",
            path=source.path,
            received_at=received_at,
            peer=None,
            client=None,
            token=None,
            note=f"Brought in by {entry.actor}. {request.remark}".rstrip(),
            headers=(),
            body=request.body,
            origin=request.origin,
            sent_at=None if request.sent_at is None else min(_space_out(request.sent_at, request.number), received_at),
            body_number=request.number,
        )
        imported = await self._do(ImportDelivery(entry, UnreadDelivery(delivery), request.dry_run))
        if not request.dry_run:
            self._note(imported)
        return imported

    def _find_source(self, name: str, kind: str | None) -> Source:
        of_name = [source for source in self.sources if source.name == name]
        found = of_name if kind is None else [source for source in of_name if source.kind == kind]
        if len(found) == 1:
            return found[0]
        kinds = " or ".join(source.kind for source in of_name)
        raise UnexpectedShape(f"kind: expected {kinds} for the source {name}.")


def _space_out(sent_at: int, number: int) -> int:
    """Return the time of a body of a file. The bodies of one file were sent one after the other, in its order."""
    return sent_at + (number - 1) * _APART_MICROS
