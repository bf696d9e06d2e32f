"""Who may see and do what: keys of connection strings, and roles."""
