"""Files: whole or not at all, read within bounds, looked at before they are replaced."""
