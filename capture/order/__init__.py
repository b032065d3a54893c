"""Execution order, and what is settled of records once all their names are known."""
