"""Submissions: zips that a challenge server accepts, written and verified."""
