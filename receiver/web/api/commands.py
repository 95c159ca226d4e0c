"""The POST endpoints as one table: path, body, schema of the answer, and the command behind it."""

import asyncio
from functools import partial
from typing import Any

from receiver import clock
from receiver.clock import iso, to_micros
from receiver.domain.notices import make_test_notice
from receiver.domain.replays import ReplayOptions
from receiver.maintenance.backup import begin_backup, continue_backup
from receiver.maintenance.customers import replace_customers, restore_customers
from receiver.maintenance.run_removal import remove_test_runs
from receiver.maintenance.setup_windows import open_window
from receiver.maintenance.targets import (
    drop_target,
    flush_target,
    pause_target,
    resend_change,
    resume_target,
    retry_failed,
    send_test_change,
)
from receiver.storage import queries
from receiver.storage.interventions import DeadFilter
from receiver.storage.run_removal import count_tests
from receiver.web.api.bodies import (
    AlarmTestBody,
    BackupBody,
    CustomersBody,
    DismissBody,
    DropBody,
    FlushBody,
    ForgetBody,
    ImportBody,
    PauseBody,
    PruneBody,
    PruneTestsBody,
    ReopenBody,
    ReplayBody,
    ResendBody,
    RestoreBody,
    ResumeBody,
    RetryBody,
    RetryQuarantineBody,
    SetupWindowBody,
    TargetTestBody,
    read_customers,
)
from receiver.web.api.command_context import CommandContext, CommandEndpoint, OperatorRequest
from receiver.web.api.quarantine import dismiss_quarantined, reopen_quarantined, retry_quarantined
from receiver.web.api.recovery import RECOVERY_ENDPOINTS
from receiver.web.api.schemas.commands import (
    AlarmTestAnswer,
    BackupAnswer,
    CustomersAnswer,
    DismissAnswer,
    DropAnswer,
    FlushAnswer,
    ForgetAnswer,
    ImportAnswer,
    PauseAnswer,
    PruneAnswer,
    PruneTestsAnswer,
    ReopenAnswer,
    ReplayAnswer,
    ResendAnswer,
    ResumeAnswer,
    RetryAnswer,
    RetryQuarantineAnswer,
    TargetTestAnswer,
    WindowAnswer,
)

_SECONDS = 2.0  # of work for one request; the client repeats it while there is `more`


async def _open_window(context: CommandContext, request: OperatorRequest) -> dict[str, Any]:
    source, closes_at = request.body.source, request.body.closes_at
    await open_window(context.do, source, closes_at, request.operator.entry, context.windows.put)
    return {"source": source, "closes_at": iso(closes_at)}


async def _import_customers(context: CommandContext, request: OperatorRequest) -> dict[str, Any]:
    upload = partial(read_customers, request.body)
    return (await replace_customers(context.do, upload, request.operator.entry)).as_json()


async def _restore_customers(context: CommandContext, request: OperatorRequest) -> dict[str, Any]:
    earlier, dry_run = request.body.list, request.body.dry_run
    return (await restore_customers(context.do, earlier, request.operator.entry, dry_run=dry_run)).as_json()


async def _import_delivery(context: CommandContext, request: OperatorRequest) -> dict[str, Any]:
    imported = await context.deliveries.bring_in(request.operator.entry, request.body.to_request())
    return await asyncio.to_thread(imported.as_json)


async def _replay(context: CommandContext, request: OperatorRequest) -> dict[str, Any]:
    body = request.body
    options = ReplayOptions(to_micros(clock.now()), force=body.force, dry_run=body.dry_run, undo=body.undo, retry=body.retry)
    replayed = await context.replayer.replay(request.operator.entry, request.path["id"], options)
    return await asyncio.to_thread(replayed.as_json) | options.as_json()  # slow for ten thousand items


async def _forget(context: CommandContext, request: OperatorRequest) -> dict[str, Any]:
    source, tracker_id = request.body.source, request.body.tracker_id
    receipt = await context.eraser.erase([(source, tracker_id)], request.operator.entry)
    counts = receipt.counts._asdict()
    return {"source": source, "tracker_id": tracker_id, **counts, "wal_checkpointed": receipt.wal_checkpointed}


async def _prune(context: CommandContext, request: OperatorRequest) -> dict[str, Any]:
    done = await context.pruner.prune(request.operator.entry, request.body.bodies_days, request.body.run, _SECONDS)
    done.log()
    removed = {kind: amount._asdict() for kind, amount in done.removed.items()}
    return {"run": done.mark, "more": done.more, "removed": removed}


async def _prune_tests(context: CommandContext, request: OperatorRequest) -> dict[str, Any]:
    run, dry_run = request.body.test_run, request.body.dry_run
    if dry_run:
        done, more = await context.read(count_tests, context.database, run), False
    else:
        done, more = await remove_test_runs(context.do, run, request.operator.entry, _SECONDS)
    return {"test_run": run, "dry_run": dry_run, **done._asdict(), "more": more}


async def _test_alarms(context: CommandContext, _request: OperatorRequest) -> dict[str, Any]:
    results = await asyncio.to_thread(context.test_alarms, make_test_notice(iso(to_micros(clock.now()))))
    return {"channels": [result._asdict() for result in results]}


async def _back_up(context: CommandContext, request: OperatorRequest) -> dict[str, Any]:
    body = request.body
    if body.run is None:
        return (await begin_backup(context.do, body.file, body.proof, request.operator.entry))._asdict()
    return (await continue_backup(context.do, body.run, cancel=body.cancel))._asdict()


async def _drop_target(context: CommandContext, request: OperatorRequest) -> dict[str, Any]:
    target = request.body.target
    await context.read(queries.check_unnamed, context.database, context.targets, target)
    await context.read(queries.check_target, context.database, context.targets, target)
    done, more = await drop_target(context.do, target, request.operator.entry, _SECONDS)
    return {"target": target, **done._asdict(), "more": more}


async def _pause_target(context: CommandContext, request: OperatorRequest) -> dict[str, Any]:
    target = request.body.target
    await context.read(queries.check_target, context.database, context.targets, target)
    return {"target": target, "paused": await pause_target(context.do, target, request.operator.entry)}


async def _flush_target(context: CommandContext, request: OperatorRequest) -> dict[str, Any]:
    target = request.body.target
    await context.read(queries.check_target, context.database, context.targets, target)
    return {"target": target, "changes": await flush_target(context.do, target, request.operator.entry)}


async def _resend_change(context: CommandContext, request: OperatorRequest) -> dict[str, Any]:
    body = request.body
    change = (body.source, body.tracker_id, body.target, body.basis, body.sequence)
    resent = await resend_change(context.do, *change, context.targets, request.operator.entry)
    return {"source": body.source, "tracker_id": body.tracker_id, **resent._asdict()}


async def _test_target(context: CommandContext, request: OperatorRequest) -> dict[str, Any]:
    target = request.body.target
    queries.check_named(context.targets, target)
    result = await send_test_change(context.do, context.test_target, target, request.operator.entry)
    return {"target": target, **result._asdict()}


async def _resume_target(context: CommandContext, request: OperatorRequest) -> dict[str, Any]:
    target = request.body.target
    await context.read(queries.check_target, context.database, context.targets, target)
    return {"target": target, "resumed": await resume_target(context.do, target, request.operator.entry)}


async def _retry_dead(context: CommandContext, request: OperatorRequest) -> dict[str, Any]:
    target = request.body.target
    await context.read(queries.check_target, context.database, context.targets, target)
    only = DeadFilter(request.body.since, request.body.source, request.body.tracker_id)
    return {"target": target, "changes": await retry_failed(context.do, target, request.operator.entry, only)}


COMMAND_ENDPOINTS = (
    CommandEndpoint("/setup-windows", "Open or close a source's setup window", SetupWindowBody, WindowAnswer, _open_window),
    CommandEndpoint(
        "/customers",
        "Replace the customer list, or show what would change",
        CustomersBody,
        CustomersAnswer,
        _import_customers,
        reads_body=False,
    ),
    CommandEndpoint(
        "/customers/restore",
        "Serve an earlier customer list again, or show what would change",
        RestoreBody,
        CustomersAnswer,
        _restore_customers,
        default=b"{}",
    ),
    CommandEndpoint("/deliveries/import", "Bring in a delivery that never came", ImportBody, ImportAnswer, _import_delivery),
    CommandEndpoint("/deliveries/{id}/replay", "Reprocess a stored delivery", ReplayBody, ReplayAnswer, _replay, default=b"{}"),
    CommandEndpoint(
        "/alarms/test", "Send a test notice through each channel", AlarmTestBody, AlarmTestAnswer, _test_alarms, default=b"{}"
    ),
    CommandEndpoint("/backup", "Copy a SQLite database into a file", BackupBody, BackupAnswer, _back_up),
    CommandEndpoint("/forget", "Erase the personal data of one tracker", ForgetBody, ForgetAnswer, _forget),
    CommandEndpoint("/prune", "Delete data past its retention period", PruneBody, PruneAnswer, _prune),
    CommandEndpoint(
        "/prune/tests", "Remove deliveries and trackers of tests", PruneTestsBody, PruneTestsAnswer, _prune_tests, default=b"{}"
    ),
    CommandEndpoint(
        "/quarantine/dismiss", "Dismiss quarantined messages and events", DismissBody, DismissAnswer, dismiss_quarantined
    ),
    CommandEndpoint(
        "/quarantine/reopen", "Open dismissed messages and events again", ReopenBody, ReopenAnswer, reopen_quarantined
    ),
    CommandEndpoint(
        "/quarantine/retry",
        "Decide quarantined messages and events again",
        RetryQuarantineBody,
        RetryQuarantineAnswer,
        retry_quarantined,
    ),
    CommandEndpoint(
        "/targets/drop", "Remove the changes of a target that the settings no longer name", DropBody, DropAnswer, _drop_target
    ),
    CommandEndpoint("/targets/flush", "Try the waiting changes of a target at once", FlushBody, FlushAnswer, _flush_target),
    CommandEndpoint("/targets/pause", "Pause a target", PauseBody, PauseAnswer, _pause_target),
    CommandEndpoint("/targets/resend", "Send a change of a tracker again", ResendBody, ResendAnswer, _resend_change),
    CommandEndpoint("/targets/resume", "Resume a paused or stopped target", ResumeBody, ResumeAnswer, _resume_target),
    CommandEndpoint("/targets/retry", "Retry the failed changes of a target", RetryBody, RetryAnswer, _retry_dead),
    CommandEndpoint("/targets/test", "Send a test change to a target", TargetTestBody, TargetTestAnswer, _test_target),
    *RECOVERY_ENDPOINTS,
)
"""All POST endpoints."""
