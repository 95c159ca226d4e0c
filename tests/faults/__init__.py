"""Faults made on purpose under load, and what became of every message; `python -m tests.faults` prints the table."""
