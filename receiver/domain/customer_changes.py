"""The difference between two customer lists, and the search in one. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal, NamedTuple

import orjson

MAX_CHANGES = 100
"""The maximum number of customers that a difference lists for each kind of change. The counts are always whole."""

REMOVED_NOTE = "Shiipp never deletes customers. Those that are removed here stay in Shiipp until somebody removes them there."
"""The note for a list that lacks customers of the one before. Source: docs.aeoral.com, "Customer list format"."""

CustomerRows = Sequence[tuple[str, str]]
"""Customer code and document of each customer."""

ChangeKind = Literal["added", "changed", "removed"]


class CustomerUpload(NamedTuple):
    """A customer list to import. A dry run only compares it with the served list."""

    rows: CustomerRows
    dry_run: bool = False


class CustomerChange(NamedTuple):
    """A customer that differs between two lists: its JSON in each, None where it is missing."""

    user_code: str
    before: str | None
    after: str | None

    @property
    def kind(self) -> ChangeKind:
        """Return what happens to the customer."""
        if self.before is None:
            return "added"
        return "removed" if self.after is None else "changed"


class ListDifference(NamedTuple):
    """What a new list of `customers` changes. `changes` has the first ones of each kind, in the order of their codes."""

    customers: int
    unchanged: int
    added: int
    changed: int
    removed: int
    changes: list[CustomerChange]

    def summary(self) -> str:
        """Return the counts as text."""
        return f"{self.added} added, {self.changed} changed, {self.removed} removed, {self.unchanged} unchanged"

    def as_json(self) -> dict[str, Any]:
        """Return the difference in the shape of the API."""
        return self._asdict() | {
            "changes": [
                {
                    "user_code": change.user_code,
                    "change": change.kind,
                    "before": None if change.before is None else orjson.loads(change.before),
                    "after": None if change.after is None else orjson.loads(change.after),
                }
                for change in self.changes
            ]
        }


def compare_lists(before: Iterable[tuple[str, str]], after: Iterable[tuple[str, str]]) -> ListDifference:
    """Compare two lists, each of pairs of customer code and JSON."""
    old, new = dict(before), dict(after)
    added = sorted(new.keys() - old.keys())
    removed = sorted(old.keys() - new.keys())
    changed = sorted(code for code in new.keys() & old.keys() if new[code] != old[code])
    listed = [code for codes in (added, changed, removed) for code in codes[:MAX_CHANGES]]
    changes = [CustomerChange(code, old.get(code), new.get(code)) for code in listed]
    unchanged = len(new) - len(added) - len(changed)
    return ListDifference(len(new), unchanged, len(added), len(changed), len(removed), changes)


def matches(customer: Mapping[str, str], term: str) -> bool:
    """Return whether each word of the term is in the code or the name of a customer, in upper or lower case."""
    names = (customer.get(name, "") for name in ("UserCode", "FirstName", "LastName"))
    text = " ".join(names).casefold()
    return all(word in text for word in term.casefold().split())
