"""Plans of nnU-Net for UNet++: its patch, batch and depth for a graphics card's memory."""
