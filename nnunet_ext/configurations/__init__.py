"""Configurations of a plans file: read, compared, and derived from each other."""
