"""Containers of docker or podman, on the host's network."""

import json
import os
import resource
import shutil
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from functools import cache
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from time import monotonic
from typing import Any, NamedTuple

from tests.harness.ports import free_port
from tests.harness.service import DEADLINE_SECONDS, ROOT, Reply, bearer, receive, send, wait_until

HARDENED = ("--read-only", "--cap-drop", "ALL", "--security-opt", "no-new-privileges")
_BUILD_SECONDS = 900.0
_ENOUGH = 4096  # open files, processes


@cache
def find_engine() -> str | None:
    """Return the program that runs containers here, or None. A client without its server does not."""
    for program in ("docker", "podman"):
        if shutil.which(program) and subprocess.run([program, "info"], capture_output=True, check=False).returncode == 0:
            return program
    return None


def engine(*arguments: str, check: bool = True, seconds: float = DEADLINE_SECONDS) -> subprocess.CompletedProcess[str]:
    """Run a command of the engine to its end."""
    program = find_engine()
    assert program is not None
    done = subprocess.run([program, *arguments], capture_output=True, text=True, timeout=seconds, check=False)
    assert not check or done.returncode == 0, f"{arguments}: {done.stdout}{done.stderr}"
    return done


def build_image(name: str) -> None:
    """Build the image as `make image` does, with the arguments of `make test-image ARGS=…`."""
    command = ["make", "image", f"IMAGE={name}", f"ENGINE={find_engine()}", f"ARGS={os.environ.get('IMAGE_ARGS', '')}"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=_BUILD_SECONDS, check=False)
    assert done.returncode == 0, f"{done.stdout[-2000:]}{done.stderr[-4000:]}"


def run(image: str, *command: str, options: Sequence[str] = (), check: bool = True) -> subprocess.CompletedProcess[str]:
    """Run one command in a new container to its end."""
    return engine("run", "--rm", *_surroundings(), *options, image, *command, check=check)


def inspect(kind: str, name: str) -> dict[str, Any]:
    """Return what the engine knows of an image, a container or a volume."""
    (found,) = json.loads(engine(kind, "inspect", name).stdout)
    assert isinstance(found, dict)
    return found


class Stopped(NamedTuple):
    """The end of a container: its exit code and how long the stop took."""

    code: int
    seconds: float


class PublishedPort:
    """The port of a receiver on this machine."""

    def __init__(self, port: int) -> None:
        self.port = port

    def connect(self) -> HTTPConnection:
        """Return a connection to the port."""
        return HTTPConnection("127.0.0.1", self.port, timeout=DEADLINE_SECONDS)

    def get(self, path: str, token: str | None = None) -> Reply:
        return self.call("GET", path, None, token)

    def call(self, method: str, path: str, body: bytes | None, token: str | None) -> Reply:
        """Send one request on a new connection."""
        connection = self.connect()
        try:
            send(connection, method, path, body, bearer(token))
            return receive(connection)
        finally:
            connection.close()

    def is_ready(self) -> bool:
        with suppress(OSError, HTTPException):
            return self.get("/readyz").status == 200
        return False


class Container(PublishedPort):
    """A container of the image that serves. `start` may follow on `stop`; a volume keeps its data."""

    def __init__(self, image: str, name: str, options: Sequence[str]) -> None:
        super().__init__(free_port())
        self.name = name
        self._image = image
        self._options = (*options, "--env", f"RECEIVER_PORT={self.port}", "--env", "RECEIVER_HOST=127.0.0.1")

    def start(self) -> None:
        """Run it in the background, and wait until it is ready."""
        engine("run", "--detach", "--name", self.name, *_surroundings(), *self._options, self._image)

        def is_ready() -> bool:
            assert inspect("container", self.name)["State"]["Running"], self.logs()
            return self.is_ready()

        wait_until(is_ready, "the container is ready")

    def run(self, *command: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run one command with the same options in a container of its own, to its end."""
        return run(self._image, *command, options=self._options, check=check)

    def stop(self, grace_seconds: int) -> Stopped:
        """Stop it as an orchestrator does: SIGTERM, and SIGKILL after the grace period."""
        began = monotonic()
        engine("stop", "--time", str(grace_seconds), self.name)
        return Stopped(inspect("container", self.name)["State"]["ExitCode"], monotonic() - began)

    def remove(self) -> None:
        """Remove it, running or not, without its named volume."""
        engine("rm", "--force", self.name, check=False)

    def healthcheck(self) -> subprocess.CompletedProcess[str]:
        """Run the health check of the image in the container."""
        image = inspect("image", self._image)
        program, *command = (image.get("Healthcheck") or image["Config"]["Healthcheck"])["Test"]  # podman's place, docker's place
        assert program == "CMD", "without a shell"
        return self.execute(*command, check=False)

    def execute(self, *command: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run a command in the running container."""
        return engine("exec", self.name, *command, check=check)

    def logs(self) -> str:
        done = engine("logs", self.name)
        return done.stdout + done.stderr


def _surroundings() -> tuple[str, ...]:
    """Return options with which a container also runs inside a container: no network of its own, no limits above ours."""
    return ("--network", "host", *(f"--ulimit={name}={limit}:{limit}" for name, limit in _find_limits().items()))


def limit_podman(folder: Path) -> Path:
    """Write a configuration of podman with limits below ours, for programs that call it; return its path."""
    path = folder / "containers.conf"
    limits = ", ".join(f'"{name}={limit}:{limit}"' for name, limit in _find_limits().items())
    path.write_text(f"[containers]\ndefault_ulimits = [{limits}]\n", encoding="utf-8")
    return path


def _find_limits() -> dict[str, int]:
    limits = {"nofile": resource.RLIMIT_NOFILE, "nproc": resource.RLIMIT_NPROC}
    most = {name: resource.getrlimit(number)[1] for name, number in limits.items()}
    return {name: min(hard, _ENOUGH) if hard != resource.RLIM_INFINITY else _ENOUGH for name, hard in most.items()}


def write_secret(path: Path, text: str) -> str:
    """Write a secret that the user of the container can read, and return the option that mounts it."""
    path.write_text(text, encoding="utf-8")
    path.chmod(0o644)
    return f"--volume={path}:/run/secrets/{path.name}:ro"
