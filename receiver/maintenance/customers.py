"""Replace the customer list that Shiipp gets."""

from collections.abc import Callable

from receiver import clock
from receiver.maintenance.execution import MakeEntry
from receiver.writer.commands.operators import CustomerRows, ImportCustomers, ReplaceCustomers
from receiver.writer.executor import Do


async def replace_customers(do: Do, rows: CustomerRows | Callable[[], CustomerRows], make_entry: MakeEntry) -> int:
    """Serve these customers from now on and return how many. A function is called where the command runs."""
    now = clock.now()
    entry = make_entry(now, "customers import", "customers", None)
    return await do(ImportCustomers(entry, ReplaceCustomers(clock.new_id(now), clock.to_micros(now), rows)))
