"""Trained networks on a scan, one after the other, in one process: from the scan to probabilities."""
