"""Quarantine folders, which keep the files that repairs replace, and journals, by which repairs are undone."""
