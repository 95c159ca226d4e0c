"""Commands of the API about the quarantine."""

from collections.abc import Sequence
from typing import Any

from receiver.maintenance.quarantine import ChangeItems, change_matching, dismiss, reopen, retry_items, retry_matching
from receiver.web.api.bodies import QuarantineBody
from receiver.web.api.command_context import CommandContext, OperatorRequest

_SECONDS = 2.0  # of work for one request; the client repeats it while there is more


async def dismiss_quarantined(context: CommandContext, request: OperatorRequest) -> dict[str, Any]:
    """Dismiss the items that the body names, or those that match its filter."""
    body = request.body

    async def change(ids: Sequence[str]) -> int:
        return await dismiss(context.do, ids, body.note, request.operator.entry)

    dismissed, more = await _change(context, body, "open", change)
    return {"dismissed": dismissed, "more": more}


async def reopen_quarantined(context: CommandContext, request: OperatorRequest) -> dict[str, Any]:
    """Open the items that the body names again, or the dismissed ones that match its filter."""

    async def change(ids: Sequence[str]) -> int:
        return await reopen(context.do, ids, request.operator.entry)

    reopened, more = await _change(context, request.body, "dismissed", change)
    return {"reopened": reopened, "more": more}


async def _change(context: CommandContext, body: QuarantineBody, state: str, change: ChangeItems) -> tuple[int, bool]:
    if body.ids is not None:
        return await change(body.ids), False
    wanted = body.to_filter()._replace(state=state)
    return await change_matching(context.read, context.database, wanted, _SECONDS, change)


async def retry_quarantined(context: CommandContext, request: OperatorRequest) -> dict[str, Any]:
    """Decide the items that the body names, or those that match its filter, again."""
    body, entry = request.body, request.operator.entry
    if body.ids is not None:
        following = None
        retried = await retry_items(context.replayer, context.read, context.database, body.ids, entry, dry_run=body.dry_run)
    else:
        retried, following = await retry_matching(
            context.replayer,
            context.read,
            context.database,
            body.to_filter(),
            body.cursor,
            entry,
            _SECONDS,
            dry_run=body.dry_run,
        )
    return {"dry_run": body.dry_run, **retried.as_json(), "next": following}
