"""Renderers of reports, contests and model cards."""
