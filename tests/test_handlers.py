"""Handlers are found in modules and by entry points, whatever else is there; each is called, or none."""

import sys
from collections.abc import Callable
from functools import partial, wraps
from pathlib import Path
from typing import Any

import pytest

from receiver.errors import ConfigurationError
from receiver.handlers import find_handlers, on_change, subscription_of
from tests.harness.changes import change
from tests.harness.table import each_row

HEAD = """
from functools import partial, wraps
from receiver.handlers import on_change

def make(name, decorate=on_change()):
    def tell(change):
        return name
    return decorate(tell)

class Unbound:
    __name__ = "nothing"
    def __getattr__(self, name):
        raise RuntimeError("outside of a request")
    @property
    def __class__(self):
        raise RuntimeError("outside of a request")
    def __call__(self, change):
        return "unbound"

class Remote(Unbound):
    __class__ = object
    def __getattr__(self, name):
        return Remote()
"""


@pytest.fixture(autouse=True)
def clean_imports(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder that comes first among those of modules. What is imported from it is forgotten."""
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    for name in ("shop_of_test", "other_of_test"):
        monkeypatch.setitem(sys.modules, name, sys)
        monkeypatch.delitem(sys.modules, name)


def write_entry_point(folder: Path, named: str) -> None:
    package = folder / "shop_package-1.dist-info"
    package.mkdir(exist_ok=True)
    (package / "METADATA").write_text("Metadata-Version: 2.1\nName: shop-package\nVersion: 1\n", encoding="utf-8")
    (package / "entry_points.txt").write_text(f"[receiver.handlers]\nshop = {named}\n", encoding="utf-8")


def find(folder: Path, source: str, *modules: str) -> list[Any]:
    """Return what each handler of a module with this source returns."""
    sys.modules.pop("shop_of_test", None)
    (folder / "shop_of_test.py").write_text(HEAD + source, encoding="utf-8")
    for file in folder.glob("__pycache__/*"):
        file.unlink()
    return [handler(change()) for handler in find_handlers(modules or ["shop_of_test"], folder)]


@each_row(
    ("source", "named"),
    [
        ("first = make('first')\nsecond = make('second')", "make.<locals>.tell"),
        ("first = on_change()(lambda change: 1)\nsecond = on_change()(lambda change: 2)", "<lambda>"),
        ("first = on_change()(partial(make, 1))\nsecond = on_change()(partial(make, 2))", "make"),
        ("@on_change()\ndef tell(change): return 1\nkept = tell\n@on_change()\ndef tell(change): return 2", "tell"),
    ],
)
def test_two_handlers_of_one_name_are_refused_as_only_one_would_be_called(tmp_path: Path, source: str, named: str) -> None:
    with pytest.raises(ConfigurationError, match=f"two handlers are named shop_of_test.{named}"):
        find(tmp_path, source)


@each_row(
    ("source", "found"),
    [
        ("tell = make('tell')\nagain = tell", ["tell"]),
        ("inner = make('inner')\n@wraps(inner)\ndef outer(change): return 'outer of ' + inner(change)", ["outer of inner"]),
        ("tell = make('tell')\nproxy = Unbound()", ["tell"]),
        ("tell = make('tell')\nproxy = Remote()", ["tell"]),
    ],
)
def test_other_names_of_a_handler_and_proxies_are_no_handlers_of_their_own(tmp_path: Path, source: str, found: list[str]) -> None:
    assert find(tmp_path, source) == found


def test_a_handler_that_is_imported_into_a_second_module_is_one(tmp_path: Path) -> None:
    (tmp_path / "other_of_test.py").write_text("from shop_of_test import tell\n", encoding="utf-8")
    write_entry_point(tmp_path, "shop_of_test:tell")
    assert find(tmp_path, "tell = make('tell')", "shop_of_test", "other_of_test") == ["tell"]


@each_row("named", ["shop_of_test", "shop_of_test:make"])
def test_an_entry_point_without_a_handler_is_refused(tmp_path: Path, named: str) -> None:
    (tmp_path / "other_of_test.py").write_text(HEAD + "tell = make('tell')", encoding="utf-8")
    write_entry_point(tmp_path, named)
    with pytest.raises(ConfigurationError, match="The entry point shop of receiver"):
        find(tmp_path, "proxy = Unbound()", "other_of_test")


def test_a_wrapped_function_may_be_marked_anew() -> None:
    @on_change(sources=["ship24"])
    def tell(_change: object) -> None:
        """Do nothing."""

    def wrap(function: Callable[[Any], None]) -> Callable[[Any], None]:
        @wraps(function)
        def outer(change: object) -> None:
            function(change)

        return outer

    outer = on_change(sources=["shiipp"])(wrap(tell))
    assert [subscription_of(each).sources for each in (tell, outer)] == [frozenset(["ship24"]), frozenset(["shiipp"])]


@each_row("words", ["ship24", "", [], [1]])
def test_a_filter_that_no_change_can_pass_is_refused(words: Any) -> None:
    for name in ("sources", "milestones"):
        with pytest.raises(ValueError, match=f"{name}: expected a list of words"):
            on_change(**{name: words})


def test_one_filter_serves_several_handlers() -> None:
    mark = on_change(sources=(name for name in ["ship24"]))
    assert [subscription_of(mark(partial(print))).sources for _ in range(2)] == [frozenset(["ship24"])] * 2
