"""What things are: events, cameras, zones and the relations of the schema. Pure Python: no driver, no I/O."""
