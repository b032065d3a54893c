"""PyTorch, MAX, ONNX Runtime and OpenVINO, and the list of them."""
