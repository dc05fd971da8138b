"""Images: voxels and geometry from and to files, and what every byte of a file holds."""
