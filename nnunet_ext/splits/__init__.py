"""Splits of a data set into folds: made by subject and balanced, written, and audited."""
