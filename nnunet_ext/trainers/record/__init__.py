"""Record of a training: configuration, history, curves, TensorBoard, progress."""
