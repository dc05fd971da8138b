"""The region of interest of a scan: boxes, crops and their way back, and data sets of crops."""
