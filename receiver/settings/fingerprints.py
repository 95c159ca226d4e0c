"""Fingerprints of settings: they show which ones a running process has loaded with another value, without the values."""

from collections.abc import Mapping
from hashlib import blake2b

from receiver.access.bearer import Secret
from receiver.settings.record import Settings

_BYTES = 2  # enough to see a change, and too few to find a secret by trying
_SAME = ("database_url",)  # of every process on one database


def make_fingerprints(settings: Settings) -> dict[str, str]:
    """Return a fingerprint of the value of each setting, by its name."""
    names = [name for name in type(settings).model_fields if name not in _SAME]
    return {name: _digest(f"{name}={_write(getattr(settings, name))}") for name in names}


def find_differing(loaded: Mapping[str, str], settings: Settings) -> list[str]:
    """Return the names of the settings that a process has loaded with other values. One that it does not know is none."""
    return [name for name, digest in make_fingerprints(settings).items() if loaded.get(name, digest) != digest]


def _digest(text: str) -> str:
    return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=_BYTES).hexdigest()


def _write(value: object) -> str:
    """Return a value as text that is the same in every process."""
    if isinstance(value, Secret):
        return f"{value.name}:{value.reveal()}"
    if isinstance(value, Mapping):
        return repr(sorted((str(key), _write(item)) for key, item in value.items()))
    if isinstance(value, frozenset):
        return repr(sorted(map(str, value)))
    if isinstance(value, tuple | list):
        return repr([_write(item) for item in value])
    return repr(value)
