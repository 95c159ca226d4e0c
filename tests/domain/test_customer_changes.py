"""The difference between two customer lists, and the search in one."""

from receiver.domain.customer_changes import MAX_CHANGES, CustomerChange, compare_lists, matches
from tests.harness.table import each_row

ANN = {"UserCode": "CUST001", "FirstName": "Ann", "LastName": "Ünal-Smith", "Branch": "Miami"}


def test_a_customer_is_added_changed_removed_or_unchanged() -> None:
    difference = compare_lists([("A", "1"), ("B", "1"), ("C", "1")], [("D", "1"), ("B", "2"), ("A", "1")])
    assert difference.changes == [CustomerChange("D", None, "1"), CustomerChange("B", "1", "2"), CustomerChange("C", "1", None)]
    assert [change.kind for change in difference.changes] == ["added", "changed", "removed"]
    assert (difference.customers, difference.summary()) == (3, "1 added, 1 changed, 1 removed, 1 unchanged")


def test_of_many_changes_the_first_of_each_kind_are_listed_and_all_are_counted() -> None:
    before = [(f"B{number:04}", "1") for number in range(MAX_CHANGES + 7)]
    after = [(f"A{number:04}", "1") for number in range(MAX_CHANGES + 5)]
    difference = compare_lists(before, after)
    assert (difference.added, difference.removed, len(difference.changes)) == (MAX_CHANGES + 5, MAX_CHANGES + 7, 2 * MAX_CHANGES)
    assert difference.changes[0].user_code == "A0000"


@each_row(
    ("term", "found"),
    [
        ("", True),
        ("cust001", True),
        ("UST00", True),
        ("ann SMITH", True),
        ("smith ann", True),
        ("ünal", True),
        ("ÜNAL", True),
        ("ann jones", False),
        ("miami", False),
        ("CUST002", False),
    ],
)
def test_each_word_is_looked_for_in_the_code_and_the_name(term: str, *, found: bool) -> None:
    assert matches(ANN, term) is found
