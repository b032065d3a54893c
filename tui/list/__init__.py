"""The list of rows: the main screen."""
