"""Every byte of an image file, read once and a block at a time, and what it holds."""
