"""Jobs on many cases: on worker processes or a cluster, their progress, cost, and the report of a run."""
