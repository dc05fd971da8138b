"""Networks that nnU-Net builds from its plans: UNet++, and how it is made smaller."""
