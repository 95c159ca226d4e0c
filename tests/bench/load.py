"""The client: wrk, with 64 connections and updates that are all different."""

import json
import os
import secrets
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

CONNECTIONS = 64
_SCRIPT = Path(__file__).with_name("updates.lua")


@dataclass(frozen=True, slots=True)
class Load:
    """What one run did. `failed` are answers other than 2xx, broken connections and timeouts."""

    calls: int
    seconds: float
    failed: int
    p50_ms: float
    p99_ms: float


def send(url: str, token: str, seconds: int, updates: int = 1, known: Path | None = None, connections: int = CONNECTIONS) -> Load:
    """Send calls of so many updates one after the other on each connection, as fast as they are answered."""
    wrk = shutil.which("wrk")
    if wrk is None:
        raise FileNotFoundError("wrk is not installed")
    environment = {**os.environ, "TOKEN": token, "UPDATES": str(updates), "SEED": str(secrets.randbelow(2**31))}
    if known is not None:
        environment["KNOWN"] = str(known)
    size = ["--threads", "1", "--connections", str(connections), "--duration", f"{seconds}s", "--timeout", "30s"]
    command = [wrk, *size, "--script", str(_SCRIPT), url]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True, timeout=seconds + 60)
    result = json.loads(done.stdout.splitlines()[-1])
    return Load(result["calls"], result["micros"] / 1e6, result["failed"], result["p50"] / 1000, result["p99"] / 1000)
