"""Small models with random weights, and what is planted in them."""
