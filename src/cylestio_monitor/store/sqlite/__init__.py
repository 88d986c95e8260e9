"""The SQLite file: connection, schema, rows, keys, private files and fork safety."""
