"""What has changed between two comparisons: before and after a fix of the candidate."""
