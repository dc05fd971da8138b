"""Measures of segmentations, each defined once; evaluation and comparison of predictions."""
