"""Every setting, read once into a frozen record: environment, then `.env`, then the file, then defaults.

A wrong value, an unknown name or a contradiction is a ConfigurationError that names the variable.
"""

from receiver.settings.loading import find_ignored, load
from receiver.settings.record import Settings

__all__ = ["Settings", "find_ignored", "load"]
