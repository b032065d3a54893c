"""The command `layertui`: parses, prints, picks exit statuses."""
