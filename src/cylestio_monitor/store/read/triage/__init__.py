"""Reads for triage: what waits for a person, and groups of findings."""
