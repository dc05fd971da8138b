"""Training cases preprocessed as nnU-Net does, with its resampling as products of matrices."""
