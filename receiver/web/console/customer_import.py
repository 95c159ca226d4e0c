"""The page that imports a customer list or restores an earlier one. It shows the difference first, then asks for confirmation."""

import asyncio
from typing import Any

from receiver.domain.customer_changes import MAX_CHANGES, REMOVED_NOTE, CustomerUpload, ListDifference
from receiver.domain.customers import Customer, read_list
from receiver.errors import UnexpectedShape
from receiver.maintenance.customers import replace_customers, restore_customers
from receiver.web.console.forms import Form, read_file
from receiver.web.console.login import ConsoleRequest
from receiver.web.console.pages import FormResult, Page
from receiver.writer.client import WriterClient

_COMMANDS = ("show", "import")
_PLAIN = "list.json"  # the name of a list that the page itself has written


def ask_for_list(_page_request: ConsoleRequest) -> Page:
    """Ask for the file with the list."""
    return _make_page(problem=None)


async def import_list(writer_client: WriterClient, page_request: ConsoleRequest, form: Form) -> FormResult | Page:
    """Show what the import of a list would change, or import it; `list` names an earlier list.

    Raises UnexpectedShape for another form, and NotFound if the earlier list is not stored.
    """
    if form.get("command") not in _COMMANDS:
        raise UnexpectedShape("Expected the form of the customer import.")
    if "list" in form:
        return await _restore_list(writer_client, page_request, form)
    dry_run, allow_empty = form["command"] == "show", form.get("allow_empty") == "yes"
    try:
        found = await asyncio.to_thread(_read_upload, form)
    except UnexpectedShape as error:
        return _make_page(problem=error.message)
    if not found and not allow_empty:
        return _make_page(problem="The file has no customers. To import an empty list, check the box.")
    rows = [(customer.user_code, customer.document()) for customer in found]
    difference = await replace_customers(writer_client.do, CustomerUpload(rows, dry_run), page_request.operator.entry)
    page = _make_page(
        problem=None,
        difference=difference,
        changes=difference.as_json()["changes"],
        plain=f"[{','.join(document for _, document in rows)}]" if dry_run else "",
        allow_empty=allow_empty,
        done=not dry_run,
    )
    return _tell(page, difference, done=not dry_run)


async def _restore_list(writer_client: WriterClient, page_request: ConsoleRequest, form: Form) -> FormResult | Page:
    dry_run, earlier = form["command"] == "show", form["list"]
    difference = await restore_customers(writer_client.do, earlier, page_request.operator.entry, dry_run=dry_run)
    changes = difference.as_json()["changes"]
    page = _make_page(problem=None, difference=difference, changes=changes, earlier=earlier, done=not dry_run)
    return _tell(page, difference, done=not dry_run)


def _read_upload(form: Form) -> list[Customer]:
    """Return the customers in the uploaded file, or in the list that the page before has shown."""
    if "plain" in form:
        return read_list(form["plain"].encode(), _PLAIN)
    content = read_file(form)
    if not content:
        raise UnexpectedShape("Choose a file with customers.")
    return read_list(content, form.get("file.name", ""))


def _make_page(**values: Any) -> Page:
    nothing: dict[str, Any] = {
        "difference": None,
        "changes": [],
        "plain": "",
        "earlier": None,
        "allow_empty": False,
        "done": False,
    }
    notes = {"note": REMOVED_NOTE, "max_changes": MAX_CHANGES}
    return Page("customer_import.html", "customers", nothing | notes | values)


def _tell(page: Page, difference: ListDifference, *, done: bool) -> FormResult | Page:
    return FormResult(page, f"Imported the customer list: {difference.summary()}.") if done else page
