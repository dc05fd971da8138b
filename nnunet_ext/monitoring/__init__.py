"""The results and monitor verbs: runs read from their files, their state, results and live screen."""
