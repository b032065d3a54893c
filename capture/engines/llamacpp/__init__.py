"""llama.cpp: every value of the graph, by an eval callback of the package `llama_cpp`."""
