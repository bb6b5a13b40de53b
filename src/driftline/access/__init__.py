"""Who may ask a service for what: tokens, their roles, and whom a proxy has signed in."""
