"""The laws of activation functions, gated units and feed-forward networks."""
