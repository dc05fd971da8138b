"""Probabilities that networks put out: read as streams, checked, with the geometry saved beside them."""
