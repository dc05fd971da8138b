"""Whole runs over many cases: what one case goes through, the runs over all of them, and their record."""
