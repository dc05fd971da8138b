"""Trained models: UNet++ cut down to a branch, and its branches compared."""
