"""One verdict of two sets of rows: ``driftline check``."""
