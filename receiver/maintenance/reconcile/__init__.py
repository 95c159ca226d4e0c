"""Reconciliation: find what never came, and bring it in. One file per sender."""
