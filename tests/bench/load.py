"""The client: wrk with 64 connections and different messages, as fast as they are answered or at a steady rate."""

import json
import os
import secrets
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from math import ceil
from pathlib import Path
from typing import NamedTuple

from tests.bench.figures import Latency, summarise

CONNECTIONS = 64
_SCRIPT = Path(__file__).with_name("updates.lua")
_PACED_SCRIPT = Path(__file__).with_name("paced.lua")
LEAD_SECONDS = 1  # before the first request at a steady rate: threads and connections are made
_GRACE_SECONDS = 2  # for answers to what was sent last
_ENDLESS_SECONDS = 3600


class Target(NamedTuple):
    """What is called. `known` names trackers that are there already."""

    url: str
    token: str
    updates: int = 1
    known: Path | None = None


class Load(NamedTuple):
    """What one run did, as fast as it could. `failed` are answers other than 2xx, broken connections and timeouts."""

    calls: int
    seconds: float
    failed: int
    p50_ms: float
    p99_ms: float

    @property
    def rate(self) -> float:
        """Calls a second."""
        return self.calls / self.seconds


class Paced(NamedTuple):
    """What one run at a steady rate did; rates in calls a second, durations from the moment when a call was due.

    `reached` counts the answers that came while it ran. Calls that were due and never answered are in `unanswered`, and in
    `latency` with the time that they had waited by then.
    """

    wanted: float
    reached: float
    answered: int
    unanswered: int
    failed: int
    latency: Latency


def send(url: str, token: str, seconds: int, updates: int = 1, known: Path | None = None, connections: int = CONNECTIONS) -> Load:
    """Send deliveries of so many messages one after the other on each connection, as fast as they are answered."""
    size = ["--threads", "1", "--connections", str(connections), "--duration", f"{seconds}s", "--timeout", "30s"]
    command = [_wrk(), *size, "--script", str(_SCRIPT), url]
    environment = _environment(Target(url, token, updates, known))
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True, timeout=seconds + 60)
    result = json.loads(done.stdout.splitlines()[-1])
    return Load(result["calls"], result["micros"] / 1e6, result["failed"], result["p50"] / 1000, result["p99"] / 1000)


def pace(target: Target, rate: float, seconds: float) -> Paced:
    """Send so many calls a second, each at its moment, whatever becomes of those before it."""
    with _pacing(target, rate, seconds, LEAD_SECONDS + seconds + _GRACE_SECONDS) as process:
        output, _ = process.communicate(timeout=seconds + 60)
    return read_paced(output, rate)


@contextmanager
def streaming(target: Target, rate: float) -> Iterator[Callable[[], Paced]]:
    """Send so many calls a second until what the block gets is called: it returns what became of them."""
    with _pacing(target, rate, _ENDLESS_SECONDS, _ENDLESS_SECONDS) as process:

        def end() -> Paced:
            process.send_signal(signal.SIGINT)
            output, _ = process.communicate(timeout=60)
            return read_paced(output, rate)

        yield end


@contextmanager
def _pacing(target: Target, rate: float, seconds: float, duration: float) -> Iterator[subprocess.Popen[str]]:
    moments = {"RATE": str(rate), "SECONDS": str(seconds), "LEAD": str(LEAD_SECONDS)}
    schedule = {**moments, "THREADS": str(CONNECTIONS), "UPDATES_SCRIPT": str(_SCRIPT)}
    size = ["--threads", str(CONNECTIONS), "--connections", str(CONNECTIONS), "--duration", f"{ceil(duration)}s"]
    command = [_wrk(), *size, "--timeout", "30s", "--script", str(_PACED_SCRIPT), target.url]
    process = subprocess.Popen(command, env={**_environment(target), **schedule}, stdout=subprocess.PIPE, text=True)
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()


def read_paced(output: str, rate: float) -> Paced:
    """Read what `paced.lua` has printed."""
    result = json.loads(output.splitlines()[-1])
    took, waited = result["took"], result["waited"]
    reached = result["timely"] / (result["micros"] / 1e6)
    return Paced(rate, reached, len(took), len(waited), result["failed"], summarise([*took, *waited]))


def _environment(target: Target) -> Mapping[str, str]:
    own = {"TOKEN": target.token, "UPDATES": str(target.updates), "SEED": str(secrets.randbelow(2**31))}
    known = {} if target.known is None else {"KNOWN": str(target.known)}
    return {**os.environ, **own, **known}


def _wrk() -> str:
    wrk = shutil.which("wrk")
    if wrk is None:
        raise FileNotFoundError("wrk is not installed")
    return wrk
