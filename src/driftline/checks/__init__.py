"""Compare two sets of rows and give one verdict: ``driftline check``."""
