"""The law of projections: products with a weight matrix."""
