"""Read the user's rows: from local and remote files, and from frames."""
