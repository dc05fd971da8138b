"""Losses by name: options without torch, terms of overlap and of voxels, and what builds them."""
