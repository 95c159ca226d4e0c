"""nginx with the example of `config/`; only addresses, ports and paths are replaced."""

import os
import re
import shutil
import subprocess
from contextlib import suppress
from pathlib import Path

import psutil

from tests.harness.network import Machine
from tests.harness.service import ROOT, wait_until

EXAMPLE = ROOT / "config" / "nginx.conf"
_SERVER = re.compile(r"^( *server )[\d.]+:\d+( max_fails=.*;)\n", re.MULTILINE)
_STOP_SECONDS = 10
_AROUND = """\
daemon off;
{user}
pid {folder}/nginx.pid;
error_log {folder}/error.log notice;
worker_processes 2;
events {{ worker_connections 1024; }}
http {{
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    include {folder}/receiver.conf;
}}
"""


def find_nginx() -> str | None:
    """Return the program, or None if it is not installed."""
    return shutil.which("nginx", path="/usr/sbin:/usr/local/sbin:/usr/bin:/usr/local/bin")


def make_certificate(folder: Path, address: str) -> Path:
    """Write a certificate for an address, signed by itself, and its key (`privkey.pem`) beside it."""
    file = folder / "fullchain.pem"
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"]
    command += ["-subj", "/CN=receiver", "-addext", f"subjectAltName=IP:{address}"]
    command += ["-keyout", str(folder / "privkey.pem"), "-out", str(file)]
    subprocess.run(command, check=True, capture_output=True, timeout=60)
    return file


class Nginx:
    """One nginx on a machine, in front of these `receivers` (`address:port`)."""

    def __init__(self, folder: Path, machine: Machine, receivers: list[str]) -> None:
        folder.mkdir()
        self.folder = folder
        self.machine = machine
        self.port = machine.do(machine.port, 443)
        self.certificate = make_certificate(folder, machine.address)
        self._process: subprocess.Popen[bytes] | None = None
        user = "user root;" if os.geteuid() == 0 else ""  # the folder is the tests' own
        (folder / "nginx.conf").write_text(_AROUND.format(user=user, folder=folder), encoding="utf-8")
        self.point_at(receivers)

    def point_at(self, receivers: list[str]) -> None:
        """Write the example with these receivers. A running nginx needs `reload`."""
        text = EXAMPLE.read_text(encoding="utf-8")
        first, *others = _SERVER.finditer(text)
        lines = "".join(f"{first[1]}{receiver}{first[2]}\n" for receiver in receivers)
        text = text[: first.start()] + lines + text[others[-1].end() :]
        filled_in = {
            "listen 443 ssl;": f"listen {self.machine.address}:{self.port} ssl;",
            "/etc/letsencrypt/live/receiver.example.com": str(self.folder),
            "/var/log/nginx/receiver.log": str(self.folder / "access.log"),
        }
        for expected, value in filled_in.items():
            assert expected in text, f"the example has no {expected} any more"
            text = text.replace(expected, value)
        if not self.machine.is_namespace:
            text = text.replace("allow 10.0.0.0/8;", "allow 127.0.0.0/8;")
        (self.folder / "receiver.conf").write_text(text, encoding="utf-8")

    def check(self) -> str:
        """Return what `nginx -t` says; the last line is whether it is successful."""
        command = [*self._command(), "-t"]
        return self.machine.do(lambda: subprocess.run(command, capture_output=True, text=True, timeout=30, check=False).stderr)

    def start(self) -> None:
        """Start it and wait until it takes connections."""
        with (self.folder / "output").open("ab") as output:
            self._process = self.machine.run(self._command(), output)
        wait_until(self._is_up, "nginx is up")

    def reload(self) -> None:
        """Have it read its configuration anew, as `nginx -s reload` does."""
        subprocess.run([*self._command(), "-s", "reload"], check=True, capture_output=True, timeout=30)

    def routes(self) -> list[list[str]]:
        """Return for each request so far the receivers that it was passed to, in order."""
        lines = (self.folder / "access.log").read_text(encoding="utf-8").splitlines()
        return [found[1].split(", ") for line in lines if (found := re.search(r'upstream="([^"]*)"', line))]

    def written(self) -> str:
        """Return everything that it has logged."""
        names = ("access.log", "error.log", "output")
        return "".join(file.read_text(errors="replace") for name in names if (file := self.folder / name).exists())

    def close(self) -> None:
        """End it; its first process ends the others, and if that one is lost, we do."""
        if self._process is None or self._process.poll() is not None:
            return
        family = psutil.Process(self._process.pid).children()
        self._process.terminate()
        try:
            self._process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            for worker in family:
                with suppress(psutil.NoSuchProcess):
                    worker.kill()
            self._process.wait()

    def _command(self) -> list[str]:
        program = find_nginx()
        assert program is not None
        return [program, "-p", str(self.folder), "-e", str(self.folder / "error.log"), "-c", str(self.folder / "nginx.conf")]

    def _is_up(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, self.written()
        return (self.folder / "nginx.pid").exists() and len(psutil.Process(self._process.pid).children()) >= 2


class FieldNginx(Nginx):
    """One nginx with a configuration that somebody had, in front of one receiver; the ports alone are filled in."""

    def __init__(self, folder: Path, machine: Machine, configuration: Path, receiver: str) -> None:
        self._configuration = configuration
        super().__init__(folder, machine, [receiver])

    def point_at(self, receivers: list[str]) -> None:
        text = self._configuration.read_text(encoding="utf-8")
        for expected, value in {"127.0.0.1:8445": f"127.0.0.1:{self.port}", "127.0.0.1:8080": receivers[0]}.items():
            assert expected in text, expected
            text = text.replace(expected, value)
        (self.folder / "receiver.conf").write_text(text, encoding="utf-8")
