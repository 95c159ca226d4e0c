"""Everything that knows tables."""
