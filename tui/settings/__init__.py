"""What the user sets: a file, the environment, options, and `:set` on the screen."""
