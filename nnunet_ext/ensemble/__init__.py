"""Ensembles: which members, which of their files make a case, and how their probabilities become one."""
