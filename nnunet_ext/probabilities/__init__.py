"""Probabilities of networks: read as streams, checked, stored compactly, and placed in the scan's file."""
