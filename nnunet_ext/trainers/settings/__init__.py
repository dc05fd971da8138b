"""Settings of a training: definition, and values from variables, a file and the trainer's name."""
