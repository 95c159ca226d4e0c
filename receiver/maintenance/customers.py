"""Replace the customer list that Shiipp gets, restore an earlier one, or show what that would change."""

from collections.abc import Callable

from receiver import clock
from receiver.domain.customer_changes import CustomerUpload, ListDifference
from receiver.maintenance.execution import MakeEntry
from receiver.writer.commands.operators import ImportCustomers, RestoreCustomers
from receiver.writer.executor import Do


async def replace_customers(
    do: Do, upload: CustomerUpload | Callable[[], CustomerUpload], make_entry: MakeEntry
) -> ListDifference:
    """Serve these customers from now on, unless it is a dry run, and return the difference to the list before.

    A function is called where the command runs.
    """
    now = clock.now()
    entry = make_entry(now, "customers import", "customers", None)
    return await do(ImportCustomers(entry, clock.new_id(now), clock.to_micros(now), upload))


async def restore_customers(do: Do, earlier: str | None, make_entry: MakeEntry, *, dry_run: bool) -> ListDifference:
    """Serve an earlier list again (None: the one before the served one), unless it is a dry run.

    Returns the difference to the served list. Raises NotFound if there is no such list.
    """
    now = clock.now()
    entry = make_entry(now, "customers restore", earlier or "customers", None)
    return await do(RestoreCustomers(entry, clock.new_id(now), clock.to_micros(now), earlier, dry_run))
