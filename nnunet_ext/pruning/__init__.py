"""Pruning of a trained UNet++: comparing its branches, and exporting one of them as a smaller network."""
