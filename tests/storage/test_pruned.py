"""The effects of deliveries without bodies are copied from the records, in any number."""

from sqlalchemy import insert

from receiver.domain.rows import MessageRow
from receiver.maintenance.pruned import read_history
from receiver.storage.database import Database
from receiver.storage.statements import Insert
from receiver.storage.tables.ledger import MessageTable, TrackerTable
from receiver.storage.tables.metadata import table_of
from receiver.storage.transactions import Transactions
from tests.harness.storage import make_tables

_NUMBER = 66_000  # more values than a statement of either database can carry


def test_groups_of_any_size_are_taken_over(database_url: str) -> None:
    make_tables(database_url)
    database = Database(database_url)
    transactions = Transactions(database)
    names = [f"{number:05}" for number in range(_NUMBER)]
    rows = [MessageRow("ship24", f"m-{n}", f"t-{n}", "", "recorded", None, "delivery", 0, "digest", 0) for n in names]
    state = {"source": "ship24", "version": 1, "subject": "parcel", "snapshot_generated_at": 0, "snapshot_message_id": ""}
    trackers = [{**state, "tracker_id": f"t-{names[n]}", "created_at": 0, "moved_at": 0, "moves": 0} for n in (0, -1)]
    transactions.run(lambda connection: Insert(database, table_of(MessageTable), MessageRow).execute(connection, rows))
    transactions.run(lambda connection: connection.execute(insert(table_of(TrackerTable)), trackers))
    with database.read() as connection:
        found = read_history(connection, ["delivery"])
    assert len(found.messages["delivery"]) == _NUMBER
    assert sorted(key for _, key in found.trackers) == [f"t-{names[0]}", f"t-{names[-1]}"]
    transactions.close()
    database.close()
