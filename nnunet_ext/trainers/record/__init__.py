"""What a training leaves behind to be known and repeated by: history, configuration, curves, TensorBoard."""
