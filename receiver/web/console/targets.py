"""The page of targets: what waits for each one, with its buttons; and the form that sends a change again."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import tzinfo

from starlette.responses import Response

from receiver.domain.labels import count
from receiver.errors import UnexpectedShape
from receiver.maintenance.execution import MakeEntry
from receiver.maintenance.targets import (
    drop_target,
    flush_target,
    pause_target,
    resend_change,
    resume_target,
    retry_failed,
    send_test_change,
)
from receiver.relay.assembly import ConfiguredTarget, describe_targets, target_names
from receiver.relay.target_tests import TestTarget
from receiver.sources import NAMES
from receiver.storage import queries
from receiver.storage.database import Database
from receiver.storage.interventions import ALL_DEAD, DeadFilter
from receiver.storage.reader import Reader
from receiver.web.api.bodies import ResendBody, read_fields
from receiver.web.api.parameters import ChangesQuery, read_query
from receiver.web.console import links
from receiver.web.console.forms import Form
from receiver.web.console.login import ConsoleRequest
from receiver.web.console.pages import FormResult, Page
from receiver.web.console.rendering import redirect
from receiver.writer.client import WriterClient
from receiver.writer.executor import Do

_PATH = "/ops/targets"
_SECONDS = 2.0  # of removing changes for one request
_COMMANDS: Mapping[str, Callable[[Do, str, MakeEntry], Awaitable[object]]] = {
    "pause": pause_target,
    "resume": resume_target,
    "flush": flush_target,
}
_RETRY_FIELDS = ("since", "source", "tracker")


def show_targets(database: Database, targets: Sequence[ConfiguredTarget], _page_request: ConsoleRequest) -> Page:
    """Show what waits for each target, and its failures."""
    return Page("targets.html", "targets", {"targets": describe_targets(database, targets), "sources": NAMES})


async def change_target(
    writer_client: WriterClient,
    reader: Reader,
    database: Database,
    targets: Sequence[ConfiguredTarget],
    page_request: ConsoleRequest,
    form: Form,
) -> FormResult | Response:
    """Pause, resume, flush or drop a target, or retry its failed changes. Raises NotFound, TargetInUse, UnexpectedShape."""
    name, command = form.get("target", ""), form.get("command", "")
    if command not in {*_COMMANDS, "drop", "retry"}:
        raise UnexpectedShape("Expected a form of the page of targets.")
    names = target_names(targets)
    await reader.read(queries.check_target, database, names, name)
    if command == "drop":
        await reader.read(queries.check_unnamed, database, names, name)
        await drop_target(writer_client.do, name, page_request.operator.entry, _SECONDS)
    elif command == "retry":
        only = await reader.read(_read_filter, database, form, page_request.zone.info)
        changes = await retry_failed(writer_client.do, name, page_request.operator.entry, only)
        page = Page("target_retry.html", "targets", {"target": name, "changes": changes, "is_all": only == ALL_DEAD})
        return FormResult(page, f"Queued for retry for {name}: {count(changes, 'change')}.")
    else:
        await _COMMANDS[command](writer_client.do, name, page_request.operator.entry)
    return redirect(_PATH)


def _read_filter(database: Database, form: Form, zone: tzinfo) -> DeadFilter:
    """Return the failed changes to retry: those that a form chooses. Raises NotFound for an unknown tracker, UnexpectedShape."""
    chosen = [(name, form[name]) for name in _RETRY_FIELDS if form.get(name, "").strip()]
    wanted = read_query(ChangesQuery, chosen, zone).to_filter(database)
    return DeadFilter(wanted.since, wanted.source, wanted.tracker_id)


async def send_again(
    writer_client: WriterClient, targets: Sequence[ConfiguredTarget], page_request: ConsoleRequest, form: Form
) -> Response:
    """Send a change of a tracker again to a target, and return to the tracker's page. Raises NotFound, UnexpectedShape."""
    fields = {name: form[name] for name in ResendBody.model_fields if name in form}
    body = read_fields(ResendBody, fields)
    change = (body.source, body.tracker_id, body.target or "", body.basis, body.sequence)
    await resend_change(writer_client.do, *change, target_names(targets), page_request.operator.entry)
    return redirect(f"{links.to_tracker(body.source, body.tracker_id)}#changes")


async def try_target(
    writer_client: WriterClient,
    targets: Sequence[ConfiguredTarget],
    send: TestTarget,
    page_request: ConsoleRequest,
    form: Form,
) -> FormResult:
    """Send a test change to a target and show the answer. Raises NotFound."""
    name = form.get("target", "")
    queries.check_named(target_names(targets), name)
    result = await send_test_change(writer_client.do, send, name, page_request.operator.entry)
    summary = f"A test change was sent to {name}: {'delivered' if result.delivered else 'failed'}."
    return FormResult(Page("target_test.html", "targets", {"target": name, "result": result}), summary)
