"""Served models: events into profiles, profiles into verdicts, verdicts into alerts."""
