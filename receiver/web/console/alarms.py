"""The page that sends a test notice through each channel and shows what came back."""

import asyncio

from receiver.clock import iso, to_micros
from receiver.domain.notices import make_test_notice
from receiver.monitoring.notifier import AlarmNotifier
from receiver.web.console.forms import Form
from receiver.web.console.login import ConsoleRequest
from receiver.web.console.pages import FormResult, Page


async def try_channels(notifier: AlarmNotifier, page_request: ConsoleRequest, _form: Form) -> FormResult:
    """Send a test notice and show the results."""
    results = await asyncio.to_thread(notifier.test, make_test_notice(iso(to_micros(page_request.now))))
    states = ", ".join(f"{result.channel}: {'sent' if result.sent else 'failed'}" for result in results)
    summary = f"Test of the alarm notices: {states or 'no channel'}."
    return FormResult(Page("alarm_test.html", "settings", {"results": results}), summary)
