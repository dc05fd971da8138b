"""Networks that nnU-Net builds from its plans: UNet++, how it is made smaller, and files of weights."""
