"""A simulation of Ship24 and Shiipp as senders. It reports messages that a receiver lost or applied twice, and wrong states."""
