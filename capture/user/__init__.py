"""What belongs to the user of this machine: where settings, cached results and state are kept."""
