"""Parts that every process needs: signals, a stop in bounded time, repeated background work."""
