"""Nouns: what the agent talks about. Frozen, typed, no input or output."""
