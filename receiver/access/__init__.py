"""Access control: client addresses, bearer tokens, operators, sessions, setup windows, rate limits."""
