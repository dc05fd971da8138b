"""Repairs of what a check found, each of which can be undone."""
