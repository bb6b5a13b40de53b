"""Read from the state what people and programs are shown."""
