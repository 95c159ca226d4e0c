"""Log lines: how they are made, limited and written."""
