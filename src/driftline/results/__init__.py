"""What was found, as values that every form of a report is written from."""
