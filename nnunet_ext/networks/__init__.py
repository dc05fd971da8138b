"""UNet++ for nnU-Net's plans, sliding-window prediction, checkpoint files and devices."""
