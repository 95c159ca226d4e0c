"""Whether a caller may come in: addresses, bearer tokens, operators, sessions, rate limits."""
