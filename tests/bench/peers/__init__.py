"""A careful handler in another stack: Fastify on Node, with better-sqlite3 or pg. `install` gets its packages."""

import shutil
import subprocess
from pathlib import Path

FOLDER = Path(__file__).parent
_NATIVE = "import('better-sqlite3').then(({ default: Database }) => new Database(':memory:'))"

COMMAND = ["node", str(FOLDER / "server.js")]


def find_obstacle() -> str | None:
    """Return the reason why the handler cannot run here; None if it can."""
    if shutil.which("node") is None:
        return "Node is not installed"
    if not (FOLDER / "node_modules").exists():
        return "npm has not installed its packages (tests/bench/peers/install)"
    tried = subprocess.run(["node", "--eval", _NATIVE], cwd=FOLDER, capture_output=True, check=False)
    return None if tried.returncode == 0 else "better-sqlite3 does not run on this Node (tests/bench/peers/install)"
