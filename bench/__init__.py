"""Benchmarks: subject and baseline interleaved in one run; each prints one JSON line."""
