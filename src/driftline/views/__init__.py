"""What people and programs are shown, read from the state."""
