"""The laws of convolution, pooling and layer scale."""
