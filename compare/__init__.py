"""Two captures compared: alignment, measurements, verdicts, reports. No terminal in here."""
