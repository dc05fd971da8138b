"""Planning for UNet++: patch size, batch size and depth for a GPU's memory; derived configurations."""
