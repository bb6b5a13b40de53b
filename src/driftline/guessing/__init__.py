"""Guess a model's configuration from a file of its rows: what each column is, and how its time is cut."""
