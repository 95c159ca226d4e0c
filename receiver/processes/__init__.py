"""The needs of every process: signals, a stop in bounded time, repeated background work."""
