"""Queries over the store, as typed records."""
