"""Detection: knows bytes and rules, never images."""
