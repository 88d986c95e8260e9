"""Retention, salvage of damaged files and removal of unreferenced shared records."""
