"""Model families. torch begins here; only the engine thread calls into this package."""
