"""Spans that another instrumentation creates for the same call: found, enriched, never doubled."""
