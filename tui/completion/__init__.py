"""What Tab puts into the prompt: commands, names, metrics, settings, files."""
