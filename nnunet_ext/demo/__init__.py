"""The demo: phantom data through planning, training, ensemble and submission, on any computer."""
