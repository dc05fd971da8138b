"""Decisions of a training, from its history and settings alone. Without torch."""
