"""The environment that `make` makes: of the Python that was asked for."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from tests.harness.service import ROOT


def plan(folder: Path, *arguments: str) -> str:
    """Return what make would run to make `.venv`."""
    env = {name: value for name, value in os.environ.items() if name != "PYTHON" and not name.startswith("MAKE")}
    done = subprocess.run(
        ["make", "-n", ".venv/run", *arguments], cwd=folder, env=env, capture_output=True, text=True, check=True
    )
    return done.stdout


def test_an_environment_of_another_python_than_asked_for_is_made_again(tmp_path: Path) -> None:
    shutil.copy(ROOT / "Makefile", tmp_path)
    for name in ("requirements.txt", "pyproject.toml"):
        (tmp_path / name).touch()
    assert "python3 -m venv  .venv" in plan(tmp_path)
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", ".venv"], cwd=tmp_path, check=True)
    (tmp_path / ".venv/run").touch()
    other = tmp_path / "python-of-another-version"
    other.write_text("#!/bin/sh\necho 3.99\n")
    other.chmod(0o700)
    assert "up to date" in plan(tmp_path)
    assert "up to date" in plan(tmp_path, f"PYTHON={sys.executable}")
    assert f"{other} -m venv --clear .venv" in plan(tmp_path, f"PYTHON={other}")


def test_each_step_of_the_installation_is_announced(tmp_path: Path) -> None:
    shutil.copy(ROOT / "Makefile", tmp_path)
    for name in ("requirements.txt", "pyproject.toml"):
        (tmp_path / name).touch()
    lines = plan(tmp_path).splitlines()
    steps = [place for place, line in enumerate(lines) if "-m venv" in line or "/pip " in line]
    assert len(steps) == 3
    assert all("echo " in lines[place] or lines[place - 1].startswith("echo ") for place in steps)
