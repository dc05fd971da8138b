"""One page on a data set and its models: what it says, and how it is written."""
