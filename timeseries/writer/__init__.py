"""The background writer: queue, spool, retries. It knows no database."""
