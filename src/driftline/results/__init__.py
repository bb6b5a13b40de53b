"""Results as values, from which every form of a report is written."""
