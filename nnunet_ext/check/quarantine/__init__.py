"""Quarantine folders, which keep the files that repairs replace, and the journals that undo repairs."""
