"""The page of targets: what waits for each one, with its buttons; and the form that sends a change again."""

from collections.abc import Awaitable, Callable, Mapping, Sequence

from starlette.responses import Response

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
from receiver.storage import queries
from receiver.storage.database import Database
from receiver.storage.reader import Reader
from receiver.web.api.bodies import ResendBody, read_fields
from receiver.web.console import links
from receiver.web.console.forms import Form
from receiver.web.console.login import ConsoleRequest
from receiver.web.console.pages import Page
from receiver.web.console.rendering import redirect
from receiver.writer.client import WriterClient
from receiver.writer.executor import Do

_PATH = "/ops/targets"
_SECONDS = 2.0  # of removing changes for one request
_COMMANDS: Mapping[str, Callable[[Do, str, MakeEntry], Awaitable[object]]] = {
    "pause": pause_target,
    "resume": resume_target,
    "flush": flush_target,
    "retry": retry_failed,
}


def show_targets(database: Database, targets: Sequence[ConfiguredTarget], _page_request: ConsoleRequest) -> Page:
    """Show what waits for each target, and its failures."""
    return Page("targets.html", "targets", {"targets": describe_targets(database, targets)})


async def change_target(
    writer_client: WriterClient,
    reader: Reader,
    database: Database,
    targets: Sequence[ConfiguredTarget],
    page_request: ConsoleRequest,
    form: Form,
) -> Response:
    """Pause, resume, flush or drop a target, or retry its failed changes. Raises NotFound, TargetInUse, UnexpectedShape."""
    name, command = form.get("target", ""), form.get("command", "")
    if command not in {*_COMMANDS, "drop"}:
        raise UnexpectedShape("Expected a form of the page of targets.")
    names = target_names(targets)
    await reader.read(queries.check_target, database, names, name)
    if command == "drop":
        await reader.read(queries.check_unnamed, database, names, name)
        await drop_target(writer_client.do, name, page_request.operator.entry, _SECONDS)
    else:
        await _COMMANDS[command](writer_client.do, name, page_request.operator.entry)
    return redirect(_PATH)


async def send_again(
    writer_client: WriterClient, targets: Sequence[ConfiguredTarget], page_request: ConsoleRequest, form: Form
) -> Response:
    """Send a change of a tracker again to a target, and return to the tracker's page. Raises NotFound, UnexpectedShape."""
    fields = {name: form[name] for name in ResendBody.model_fields if name in form}
    body = read_fields(ResendBody, fields)
    queries.check_named(target_names(targets), body.target or "")
    change = (body.source, body.tracker_id, body.target, body.basis, body.sequence)
    await resend_change(writer_client.do, *change, page_request.operator.entry)
    return redirect(f"{links.to_tracker(body.source, body.tracker_id)}#changes")


async def try_target(
    writer_client: WriterClient,
    targets: Sequence[ConfiguredTarget],
    send: TestTarget,
    page_request: ConsoleRequest,
    form: Form,
) -> Page:
    """Send a test change to a target and show the answer. Raises NotFound."""
    name = form.get("target", "")
    queries.check_named(target_names(targets), name)
    result = await send_test_change(writer_client.do, send, name, page_request.operator.entry)
    return Page("target_test.html", "targets", {"target": name, "result": result})
