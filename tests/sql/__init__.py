"""Profiles that are counted inside a database."""
