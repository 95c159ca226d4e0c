"""The images of PostgreSQL and nginx for the compose file: from a registry or made of Debian packages."""

import re
import shutil
import subprocess
from pathlib import Path

from tests.conftest import lacking
from tests.harness.container import engine
from tests.harness.service import ROOT

COMPOSE_FILE = ROOT / "config" / "compose.postgresql.yaml"
_NAMED = re.compile(r"\$\{(\w+_IMAGE):-(docker\.io/[^}]+)\}")
_OWN = "receiver-test-servers"
_PULL_SECONDS = 300.0
_BUILD_SECONDS = 900.0


def provide_servers(folder: Path) -> dict[str, str]:
    """Return the variables of the compose file that name the images, once these are here."""
    named = dict(_NAMED.findall(COMPOSE_FILE.read_text(encoding="utf-8")))
    assert set(named) == {"POSTGRES_IMAGE", "NGINX_IMAGE"}
    if all(engine("pull", "--quiet", image, check=False, seconds=_PULL_SECONDS).returncode == 0 for image in named.values()):
        return named
    if engine("image", "inspect", _OWN, check=False).returncode:
        _make(folder / "servers.tar")
    return dict.fromkeys(named, f"localhost/{_OWN}")


def _make(file: Path) -> None:
    """Make one image with both servers, and with the entry point and the commands of PostgreSQL's official image."""
    if shutil.which("mmdebstrap") is None:
        lacking("no registry is reached, and mmdebstrap is not installed (Debian package: mmdebstrap)")
    command = ["mmdebstrap", "--variant=minbase", "--include=postgresql,nginx-light"]
    command += [f"--customize-hook=copy-in {Path(__file__).with_name('entry.sh')} /"]
    done = subprocess.run([*command, "bookworm", file], capture_output=True, text=True, timeout=_BUILD_SECONDS, check=False)
    assert done.returncode == 0, done.stderr[-4000:]
    engine("import", '--change=ENTRYPOINT ["/entry.sh"]', '--change=CMD ["postgres"]', str(file), _OWN, seconds=_BUILD_SECONDS)
    file.unlink()
