"""Decisions: pure functions with printable results. No library, no clock, no I/O."""
