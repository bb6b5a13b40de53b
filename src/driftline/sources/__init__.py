"""The user's rows: files of every kind, near and far, and frames."""
