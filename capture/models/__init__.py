"""Models, their inputs, and what a capture says of the run that it is made of."""
