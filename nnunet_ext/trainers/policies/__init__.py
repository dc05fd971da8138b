"""Decisions of a training, made from its history and settings alone; without torch."""
