"""Faults of a data set, raw, preprocessed and trained on, and their repair."""
