"""The world: one outside system a file, one home a library. Adapters never decide."""
