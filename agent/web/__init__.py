"""HTTP edge: verify, parse, call an operation, answer."""
