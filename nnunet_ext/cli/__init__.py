"""The command line: each verb a thin face of one documented function."""
