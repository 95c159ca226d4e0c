"""The Procfile, started by a process manager."""

import shutil
import signal
import subprocess
import sys
from pathlib import Path

import urllib3

from tests.harness.ports import free_port
from tests.harness.service import DEADLINE_SECONDS, ROOT, SHIP24, TOKEN, environment, wait_until


def test_the_procfile_migrates_and_serves_on_the_port_it_is_given(tmp_path: Path) -> None:
    port = free_port()
    shutil.copy(ROOT / "Procfile", tmp_path)
    binaries = Path(sys.executable).parent
    env = environment(f"sqlite:///{tmp_path}/receiver.db", ship24_tokens=TOKEN, ship24_ip_policy="off")
    env |= {"PATH": f"{binaries}:{env['PATH']}", "PORT": str(port)}
    runner = [str(binaries / "honcho"), "start", "--no-prefix"]
    assert subprocess.run([*runner, "release"], cwd=tmp_path, env=env, check=False, timeout=DEADLINE_SECONDS).returncode == 0
    web = subprocess.Popen([*runner, "--port", str(port), "web"], cwd=tmp_path, env=env)
    try:
        url = f"http://127.0.0.1:{port}"
        wait_until(lambda: _status(f"{url}/readyz") == 200, "the web process serves")
        assert _status(f"{url}{SHIP24}") == 405
    finally:
        web.send_signal(signal.SIGTERM)
        web.wait(DEADLINE_SECONDS)


def _status(url: str) -> int | None:
    try:
        return urllib3.request("GET", url, retries=False, timeout=DEADLINE_SECONDS).status
    except urllib3.exceptions.HTTPError:
        return None
