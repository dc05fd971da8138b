"""What can be wrong with a data set, a module a kind of fault."""
