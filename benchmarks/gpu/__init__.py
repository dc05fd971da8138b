"""The parts of `gpu_check.py`, one module for each topic."""
