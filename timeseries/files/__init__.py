"""Bulk data in and out of files."""
