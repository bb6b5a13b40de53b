"""Render the web page: server-rendered HTML and SVG, one static style sheet and one small script."""

from driftline.web.ui.pages import pages

__all__ = ["pages"]
