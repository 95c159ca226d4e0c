"""Which token can be removed after a rotation."""

from receiver.domain.tokens import TokenUse, find_replacement
from tests.harness.table import each_row

HOUR = 3600 * 1_000_000
NOW = 1000 * HOUR


def token(name: str, known_hours_ago: float | None, used_hours_ago: float | None) -> TokenUse:
    known, used = (None if hours is None else round(NOW - hours * HOUR) for hours in (known_hours_ago, used_hours_ago))
    return TokenUse(name, known, used)


@each_row(
    ("old", "new", "replaced"),
    [
        (token("old", 99, 30), token("new", 40, 1), "old"),
        (token("old", 99, None), token("new", 40, 1), "old"),
        (token("old", 99, 24), token("new", 40, 1), None),  # not for a whole day
        (token("old", 99, 25), token("new", 40, 1), "old"),
        (token("old", 99, 30), token("new", 40, 20), None),  # unused for longer than a day, but not while the new one was used
        (token("old", 99, 1), token("new", 40, None), None),  # the sender has not switched
        (token("old", 99, 1), token("new", 40, 30), None),  # the sender went back
        (token("old", 99, None), token("new", 40, None), None),
        (token("old", 40, None), token("new", 40, 1), None),  # set at the same time: nobody knows which is newer
        (token("old", 40, 30), token("new", 40, 1), "old"),
        (token("old", None, 30), token("new", 40, 1), None),
        (token("old", 99, 30), token("new", None, 1), None),
    ],
)
def test_a_token_is_replaced_once_another_was_used_and_it_was_not(old: TokenUse, new: TokenUse, replaced: str | None) -> None:
    found = {each.name: find_replacement(each, [new, old]) for each in (old, new)}
    assert found == {"new": None, "old": "new" if replaced == "old" else None}


def test_the_only_token_is_never_replaced() -> None:
    only = token("only", 99, 30)
    assert find_replacement(only, [only]) is None
