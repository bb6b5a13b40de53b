"""A function that returns measures, called on a schedule: ``driftline watch``."""
