"""PyTorch, MAX and ONNX Runtime, and the list of them."""
