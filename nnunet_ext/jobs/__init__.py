"""Jobs on many cases: on processes or a cluster, their progress, and the report of a run."""
