"""Figures of trainings and results, in colours for light and dark pages."""
