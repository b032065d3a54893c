"""The views of the pair screen, one module each."""
