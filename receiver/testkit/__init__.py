"""Programs that test a receiver from outside: `simulate` and `check`, and what they share."""
