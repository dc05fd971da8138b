"""Ensembles: members and their files, fusion of their probabilities, and the run over all cases."""
