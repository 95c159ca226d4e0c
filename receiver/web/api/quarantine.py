"""Commands of the API about the quarantine."""

from typing import Any

from receiver.maintenance.quarantine import dismiss, dismiss_matching, retry_items, retry_matching
from receiver.web.api.command_context import CommandContext, OperatorRequest

_SECONDS = 2.0  # of work for one request; the client repeats it while there is more


async def dismiss_quarantined(context: CommandContext, request: OperatorRequest) -> dict[str, Any]:
    """Dismiss the items that the body names, or those that match its filter."""
    body, entry = request.body, request.operator.entry
    if body.ids is not None:
        dismissed, more = await dismiss(context.do, body.ids, body.note, entry), False
    else:
        dismissed, more = await dismiss_matching(
            context.do, context.read, context.database, body.to_filter(), body.note, entry, _SECONDS
        )
    return {"dismissed": dismissed, "more": more}


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
