"""The speed of a training on this machine."""
