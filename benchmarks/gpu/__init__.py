"""The parts of `gpu_check.py`, a module a theme."""
