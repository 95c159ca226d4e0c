"""Rules and records: pure, without input or output."""
