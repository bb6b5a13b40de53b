"""Read what is shown to people and programs from the state."""
