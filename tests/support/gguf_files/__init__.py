"""GGUF files for tests: of models, and written by hand."""
