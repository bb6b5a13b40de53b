"""Numbered migrations of the state database, applied when it is opened."""
