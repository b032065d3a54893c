"""PyTorch, MAX, ONNX Runtime, OpenVINO and llama.cpp, and the list of them."""
