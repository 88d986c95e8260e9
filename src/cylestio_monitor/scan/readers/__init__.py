"""Readers of structured text inside matches: shell, SQL and network addresses."""
