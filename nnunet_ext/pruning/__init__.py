"""A trained UNet++ cut down to one of its branches, and its branches compared."""
