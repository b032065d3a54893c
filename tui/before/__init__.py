"""What has changed since an earlier candidate, or since the last reading, beside each row."""
