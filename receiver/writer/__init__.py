"""The writing process, and its client on the event loop."""
