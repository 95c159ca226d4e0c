"""Open or close the setup window of a source."""

from collections.abc import Callable

from receiver import clock
from receiver.maintenance.execution import MakeEntry
from receiver.writer.commands.operators import Audited, OpenWindow
from receiver.writer.executor import Do


async def open_window(
    do: Do,
    source: str,
    closes_at: int,
    make_entry: MakeEntry,
    apply: Callable[[str, int], None] = lambda _source, _closes_at: None,
) -> None:
    """Open the window of a source until a time in microseconds; a time in the past closes it. `apply` gets the stored change.

    Raises UnexpectedShape for more than 24 hours.
    """
    now = clock.now()
    is_closed = closes_at <= clock.to_micros(now)
    action, detail = ("setup-window close", None) if is_closed else ("setup-window open", f"until {clock.iso(closes_at)}")
    await do(Audited(make_entry(now, action, source, detail), OpenWindow(source, closes_at)))
    apply(source, closes_at)
