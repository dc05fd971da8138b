"""Predictions against their references: overlaps, surfaces, intervals and paired differences."""
