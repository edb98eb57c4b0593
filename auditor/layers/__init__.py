"""What each layer holds, and what became of it: pure functions over bytes and listings."""
