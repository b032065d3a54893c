"""Rules of the user: names, pairs, layouts, models, and limits by layer."""
