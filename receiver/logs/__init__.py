"""Log lines: formatting, limits and output."""
