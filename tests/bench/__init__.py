"""The benchmark: how fast calls are kept, beside what the same machine could do at best and what a usual handler does."""
