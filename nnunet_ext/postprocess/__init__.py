"""Post-processing: steps from a segmentation to a new segmentation."""
