"""Trainings followed while they run and after: histories, states, results, and a live screen."""
