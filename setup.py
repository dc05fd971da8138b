"""For tools that look for a setup.py; the description of the package is in pyproject.toml."""

from setuptools import setup

setup()
