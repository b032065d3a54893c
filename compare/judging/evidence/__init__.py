"""What speaks for an error made at a record, and what against it."""
