"""What keeps a store in order: refresh, retention, columnstore, and the jobs that run them."""
