"""The law of residual sums."""
