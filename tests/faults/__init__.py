"""Faults made on purpose under load, and the fate of every message; `python -m tests.faults` prints the table."""
