"""Alerts without a collector: conditions over stored findings, messages that wait in a table, and their sender."""
