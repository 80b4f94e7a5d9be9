"""Memory: the wish and the history, in SQLite; never the world."""
