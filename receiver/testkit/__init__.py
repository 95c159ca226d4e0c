"""Programs that test a receiver from outside: `simulate` and `check`. They use nothing of the rest."""
