"""What to do about findings."""
