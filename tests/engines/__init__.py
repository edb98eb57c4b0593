"""Real engines as the referee of file trees."""
