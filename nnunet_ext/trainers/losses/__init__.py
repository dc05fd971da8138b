"""Losses by name: options, overlap terms, voxelwise terms, and their construction."""
