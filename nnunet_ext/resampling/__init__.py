"""nnU-Net's resampling as products of matrices: images, logits and segmentations, on CPU threads or a GPU."""
