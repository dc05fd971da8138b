"""All knowledge of nnU-Net's files and names: folders, labels, images, plans, splits, models and logs."""
