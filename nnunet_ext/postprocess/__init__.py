"""Post-processing: steps that turn a segmentation into a new segmentation."""
