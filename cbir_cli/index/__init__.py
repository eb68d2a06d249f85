"""Search among vectors: one backend a file."""
