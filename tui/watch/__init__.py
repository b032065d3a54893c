"""The candidate is read again when it is written anew."""
