"""Terminal edge: a client of the HTTP API, and the composition of `serve`."""
