"""What must outlive the process: the inbox and the state (SQL), and the event log (Delta Lake)."""
