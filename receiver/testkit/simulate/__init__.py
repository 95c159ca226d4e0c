"""A sender that behaves as Ship24 and Shiipp are documented to, and that knows the truth: it tells what a receiver made of it."""
