"""The policies: ways to make verdicts of measurements, a module each."""
