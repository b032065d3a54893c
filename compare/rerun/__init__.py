"""Single layers of the candidate run again on the reference's inputs: the local error alone."""
