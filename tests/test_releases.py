"""Releases: what the tag, the changelog and the upgrade guide must agree on, and what the workflows run."""

import re
import tomllib

from docs._release import find_problems, missing_sections, read_released
from receiver import __version__
from tests.harness.service import ROOT

GUIDE = (ROOT / "docs/guides/upgrade.md").read_text(encoding="utf-8")
CHANGELOG = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
WORKFLOWS = {path.name: path.read_text(encoding="utf-8") for path in sorted((ROOT / ".github/workflows").glob("*.yml"))}


def test_each_version_has_its_section_in_the_upgrade_guide() -> None:
    released = read_released()
    assert released[0] == __version__
    assert missing_sections(released, GUIDE) == []
    if not re.search(r"^## Unreleased\n\n## ", CHANGELOG, re.MULTILINE):
        assert f"## From {released[0].removesuffix('.0')} to Unreleased" in GUIDE.splitlines()


def test_a_tag_must_be_the_version_and_have_its_sections() -> None:
    guide = "# Upgrade\n\n## From 0.2 to 0.3\n\nNothing.\n\n## From 0.1 to 0.2\n"
    released = ["0.3.0", "0.2.0", "0.1.0"]
    assert list(find_problems("v0.3.0", "0.3.0", released, guide)) == []
    assert "expected v0.3.0" in "".join(find_problems("0.3.0", "0.3.0", released, guide))
    assert "expected a section `## 0.4.0 (date)`" in "".join(find_problems("v0.4.0", "0.4.0", released, guide))
    assert "no section `## From 0.1 to 0.2`" in "".join(find_problems("v0.3.0", "0.3.0", released, guide.partition("Nothing")[0]))


def test_actions_are_pinned_by_commit_and_named_by_version() -> None:
    used = [line.strip() for text in WORKFLOWS.values() for line in text.splitlines() if "uses:" in line]
    foreign = [line for line in used if "uses: ./" not in line]
    assert len(foreign) >= 4
    pinned = re.compile(r"- uses: [\w-]+/[\w-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+")
    assert [line for line in foreign if not pinned.fullmatch(line)] == []
    assert len({line.partition("@")[2] for line in foreign if "checkout" in line}) == 1


def test_a_release_waits_for_every_workflow_that_tests() -> None:
    others = [name for name in WORKFLOWS if name != "release.yml"]
    assert [name for name in others if f"uses: ./.github/workflows/{name}\n" not in WORKFLOWS["release.yml"]] == []
    jobs = re.findall(r"^  ([\w-]+):\n    uses: \./", WORKFLOWS["release.yml"], re.MULTILINE)
    assert f"    needs: [{', '.join(jobs)}]\n" in WORKFLOWS["release.yml"]


def test_workflows_run_what_the_makefile_has_on_each_supported_python() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    runs = {line.strip() for text in WORKFLOWS.values() for line in text.splitlines() if "run:" in line}
    made = {word for line in runs for words in re.findall(r"make ((?:[a-z-]+ ?)+)", line) for word in words.split()}
    assert made == {"test", "test-databases", "test-image", "bench", "wheel", "sbom", "image", "check-tag"}
    assert {name for name in made if not re.search(rf"^{name}:", makefile, re.MULTILINE)} == set()
    versions = re.findall(r"\"(3\.\d+)\"", WORKFLOWS["test.yml"])
    lowest = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["requires-python"]
    assert lowest == f">={versions[0]}"
    contributing = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    assert f"runs on Python {', '.join(versions[:-1])} and {versions[-1]}." in contributing
