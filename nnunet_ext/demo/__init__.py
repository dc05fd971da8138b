"""The demo verb: the whole pipeline on phantom data, on any computer."""
