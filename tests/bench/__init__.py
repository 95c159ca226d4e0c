"""The benchmark: how fast deliveries are stored, beside a bare server and a usual handler on the same machine."""
