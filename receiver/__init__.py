"""A receiver of parcel-tracking webhooks from Ship24 and Shiipp: stored before the answer, applied once, forward only."""

__version__ = "0.2.0"
