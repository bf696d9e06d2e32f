"""Raw rows for good: days of them as Parquet files, in a folder or an object store."""
