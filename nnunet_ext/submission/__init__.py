"""Submissions: a flat zip that a challenge server accepts, and what is wrong with others."""
