"""ONNX models run by ONNX Runtime, with every value between their nodes at hand."""
