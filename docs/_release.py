"""Checks before a release, for `make check-tag TAG=v1.2.3`: the tag, the version, the changelog and the upgrade guide agree."""

import re
import sys
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

from receiver import __version__

ROOT = Path(__file__).parents[1]
_RELEASED = re.compile(r"^## (\d+\.\d+\.\d+) \(\d{4}-\d\d-\d\d\)$", re.MULTILINE)


def read_released() -> list[str]:
    """Return the released versions in the changelog, the latest first."""
    return _RELEASED.findall((ROOT / "CHANGELOG.md").read_text(encoding="utf-8"))


def find_problems(tag: str, version: str, released: list[str], guide: str) -> Iterator[str]:
    """Give what is wrong with a tag. `guide` is the text of the upgrade guide."""
    if tag != f"v{version}":
        yield f"The tag is {tag!r}, but receiver/__init__.py has the version {version}: expected v{version}."
    if released[:1] != [version]:
        yield f"The first version in CHANGELOG.md is {next(iter(released), None)}: expected a section `## {version} (date)`."
    yield from (f"docs/guides/upgrade.md has no section `{heading}`." for heading in missing_sections(released, guide))


def missing_sections(released: list[str], guide: str) -> list[str]:
    """Return the headings that the upgrade guide lacks: one for each version after the first."""
    short = [version.removesuffix(".0") for version in released]
    headings = [f"## From {earlier} to {later}" for later, earlier in pairwise(short)]
    return [heading for heading in headings if heading not in guide.splitlines()]


if __name__ == "__main__":
    guide_text = (ROOT / "docs/guides/upgrade.md").read_text(encoding="utf-8")
    problems = list(find_problems("".join(sys.argv[1:]), __version__, read_released(), guide_text))
    sys.exit("\n".join(problems) or 0)
