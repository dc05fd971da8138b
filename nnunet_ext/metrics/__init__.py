"""Numbers on segmentations, each defined once."""
