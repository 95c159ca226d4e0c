"""Table tests: one test checks every row of a table and reports all failing rows at once."""

import functools
import inspect
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import pytest

_MAX_LABEL = 200
_Ids = Callable[[Any], object] | Iterable[object] | None
_Named = type(pytest.param())
_Test = Callable[..., None]


def each_row(names: str | Sequence[str], rows: Iterable[Any], ids: _Ids = None) -> Callable[[_Test], _Test]:
    """Run a test for each row; takes what `pytest.mark.parametrize` takes.

    All rows share the fixtures of the one test: use it where no row leaves anything behind. Decorators can be stacked: the
    test then runs for each combination. Raises a group with one exception, and the row as its note, for each failing row.
    """
    single = isinstance(names, str) and "," not in names
    arguments = [name.strip() for name in (names.split(",") if isinstance(names, str) else names)]
    table = list(rows)
    given = ids if ids is None or callable(ids) else list(ids)
    assert table, "a table without rows proves nothing"

    def decorate(test: _Test) -> _Test:
        @functools.wraps(test)
        def run(**fixtures: object) -> None:
            failures: list[BaseException] = []
            for place, row in enumerate(table):
                values = row.values if isinstance(row, _Named) else (row,) if single else tuple(row)
                try:
                    test(**fixtures, **dict(zip(arguments, values, strict=True)))
                except (Exception, pytest.fail.Exception) as error:
                    error.add_note(f"row {place + 1}: {_label(row, values, place, given)[:_MAX_LABEL]}")
                    failures.append(error)
            if failures:
                raise BaseExceptionGroup(f"{len(failures)} of {len(table)} rows fail", failures)

        signature = inspect.signature(test)
        others = [parameter for name, parameter in signature.parameters.items() if name not in arguments]
        run.__signature__ = signature.replace(parameters=others)  # type: ignore[attr-defined]  # pytest reads fixtures from it
        return run

    return decorate


def _label(row: Any, values: Sequence[Any], place: int, ids: Sequence[object] | Callable[[Any], object] | None) -> str:
    if isinstance(row, _Named) and row.id:
        return str(row.id)
    if callable(ids):
        return ", ".join(str(ids(value)) for value in values)
    return repr(values) if ids is None else str(ids[place])
