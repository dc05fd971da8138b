"""nnunet_ext: trainers, label-weighted ensembles, post-processing and submissions for nnU-Net v2."""

__version__ = "0.1.0"
