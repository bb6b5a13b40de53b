"""What goes out over HTTP, and whom a server listens to."""
