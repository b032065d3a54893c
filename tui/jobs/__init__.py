"""The work behind the screens, in threads that can stop."""
