"""Serve the HTTP API and the page."""
