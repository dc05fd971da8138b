"""Settings of a training: names, types, defaults, and where each value came from."""
