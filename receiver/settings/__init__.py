"""The settings: read once into a frozen record, from the environment, `.env`, the file and the defaults, in this order.

A wrong value, an unknown name or a contradiction raises a ConfigurationError that names the variable.
"""

from receiver.settings.loading import find_ignored, find_secret_files, load
from receiver.settings.record import Settings

__all__ = ["Settings", "find_ignored", "find_secret_files", "load"]
