"""Predictions of scans with trained networks, all members of an ensemble in one pass."""
