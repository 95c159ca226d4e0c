"""A sender that behaves as Ship24 and Shiipp are documented to, and reports what a receiver lost, doubled or got wrong."""
