"""How the store is."""
