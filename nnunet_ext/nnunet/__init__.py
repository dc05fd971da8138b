"""All knowledge of nnU-Net's files and names: folders, labels, plans, splits, models, logs."""
