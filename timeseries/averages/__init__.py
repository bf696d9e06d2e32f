"""Averages from one store into another: quarters of an hour as Parquet files, verified from server to server."""
