"""Handlers: the user's functions that take changes, marked with `on_change` and found by module or entry point."""

import sys
from collections.abc import Callable, Iterable
from functools import partial
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from types import ModuleType
from typing import Any, Literal, TypeVar

from receiver.domain.changes import BASES, Change, Subscription
from receiver.errors import ConfigurationError

GROUP = "receiver.handlers"
"""Entry points of this group name modules, or functions, with handlers."""

_MARK = "__receiver_subscription__"
_F = TypeVar("_F", bound=Callable[[Change], Any])


def on_change(
    *,
    sources: Iterable[str] | None = None,
    milestones: Iterable[str] | None = None,
    milestone_changed: bool = False,
    basis: Literal["events", "shipment"] = "events",
) -> Callable[[_F], _F]:
    """Mark a function, sync or async, as a handler of changes from these sources to one of these milestones.

    It is called at least once for each change, and in order for each tracker. Return to acknowledge; raise to retry. An awaitable
    that it returns is awaited. With the basis `shipment` it gets changes of the sender's own milestone instead.
    """
    if basis not in BASES:
        raise ValueError(f"basis: expected one of {', '.join(BASES)}")
    wanted = _read_words("sources", sources), _read_words("milestones", milestones)

    def mark(function: _F) -> _F:
        setattr(function, _MARK, Subscription(_name(function), *wanted, milestone_changed, basis))
        return function

    return mark


def find_handlers(modules: Iterable[str], folder: Path) -> list[Callable[[Change], Any]]:
    """Return the marked functions of these modules and of the entry points.

    Modules in `folder` are found without being installed. Raises ConfigurationError with the name of a module that fails or has
    no handler, or of two handlers that have the same name.
    """
    found: list[Callable[[Change], Any]] = []
    for name in modules:
        marked = _marked(vars(_import(name, folder)).values())
        if not marked:
            raise ConfigurationError(f"RECEIVER_HANDLERS: {name} has no function marked with @on_change.")
        found += marked
    for entry in entry_points(group=GROUP):
        loaded = _load(entry)
        marked = _marked(vars(loaded).values() if isinstance(loaded, ModuleType) else [loaded])
        if not marked:
            raise ConfigurationError(f"The entry point {entry.name} of {GROUP} names no function marked with @on_change.")
        found += marked
    return _select(found)


def has_handlers(modules: Iterable[str]) -> bool:
    """Tell whether there may be handlers, without importing any."""
    return any(True for _ in modules) or bool(entry_points(group=GROUP))


def subscription_of(function: Callable[[Change], Any]) -> Subscription:
    """Return the subscription of a marked function."""
    subscription = _mark_of(function)
    assert subscription is not None
    return subscription


def _read_words(name: str, words: Iterable[str] | None) -> frozenset[str] | None:
    """Return the words. Raises ValueError for a single text, which would be taken for its letters, and for none at all."""
    if words is None:
        return None
    found = frozenset(() if isinstance(words, str) else words)
    if not found or not all(isinstance(word, str) for word in found):
        raise ValueError(f'{name}: expected a list of words, such as ["delivered"]')
    return found


def _name(function: Callable[[Change], Any]) -> str:
    """Return module and name: those of the original for a partial function, those of the class for an object."""
    original: Any = function.func if isinstance(function, partial) else function
    named = original if hasattr(original, "__qualname__") else type(original)
    return f"{named.__module__}.{named.__qualname__}"


def _import(name: str, folder: Path) -> ModuleType:
    here = str(folder.absolute())
    if here not in sys.path:
        sys.path.insert(0, here)
    try:
        return import_module(name)
    except ModuleNotFoundError as error:
        raise ConfigurationError(f"RECEIVER_HANDLERS: module {error.name} not found.") from None
    except (Exception, SystemExit) as error:
        raise ConfigurationError(f"RECEIVER_HANDLERS: {name} cannot be imported: {type(error).__name__}: {error}.") from error


def _load(entry: EntryPoint) -> Any:
    try:
        return entry.load()
    except (Exception, SystemExit) as error:
        raise ConfigurationError(
            f"The entry point {entry.name} of {GROUP} cannot be loaded: {type(error).__name__}: {error}."
        ) from error


def _marked(values: Iterable[Any]) -> list[Callable[[Change], Any]]:
    return [value for value in values if callable(value) and _mark_of(value) is not None]


def _mark_of(value: Any) -> Subscription | None:
    try:
        mark = getattr(value, _MARK, None)
        return mark if isinstance(mark, Subscription) else None  # some proxies have every attribute
    except Exception:  # others stand for nothing yet
        return None


def _select(found: Iterable[Callable[[Change], Any]]) -> list[Callable[[Change], Any]]:
    """Return each handler once. Raises ConfigurationError for two of one name: a target has one.

    One handler may be found in several modules. A function that wraps it has the same mark, and the last one found is called.
    """
    selected: dict[str, Callable[[Change], Any]] = {}
    for function in found:
        mark = subscription_of(function)
        if mark.target in selected and subscription_of(selected[mark.target]) is not mark:
            raise ConfigurationError(
                f"RECEIVER_HANDLERS: two handlers are named {mark.target}. Rename one, or set its __qualname__ before @on_change."
            )
        selected[mark.target] = function
    return list(selected.values())
