"""Receives parcel-tracking webhooks from Ship24 and Shiipp: kept, once, forward only."""

__version__ = "0.2.0"
