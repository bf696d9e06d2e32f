"""One server and the connections to it."""
