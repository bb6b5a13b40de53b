"""Render reports of checks, contests and model cards."""
