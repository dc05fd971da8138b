"""Weights, decisions and post-processing learnt from cross-validation."""
