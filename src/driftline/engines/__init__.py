"""Make profiles of a history on this machine, and read the tables that any engine has made."""
