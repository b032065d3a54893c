"""The demo: a small model written twice, and mistakes to put into it."""
