"""The repairs there are, a class each: what it is called, what it moves, and how it is carried out."""
