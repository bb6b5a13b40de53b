"""The pictures of the documentation, made by following its pages: ``python -m pictures``."""
