"""PyTorch and MAX, each run in a process of its own."""
