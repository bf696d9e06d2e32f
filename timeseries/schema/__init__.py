"""The schema's version: bringing a database to it, and holding a database against it."""
