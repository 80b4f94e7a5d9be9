"""Butai: puts any branch of any repository on stage, at its own URL."""
