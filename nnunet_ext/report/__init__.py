"""The report and overlay verbs: pages and pictures of a data set's models and cases."""
