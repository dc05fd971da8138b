"""Files: written whole or not at all, read within bounds, and checked before they are replaced."""
