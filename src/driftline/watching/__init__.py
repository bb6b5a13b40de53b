"""Call a function that returns measures on a schedule: ``driftline watch``."""
