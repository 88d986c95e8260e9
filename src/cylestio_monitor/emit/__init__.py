"""Turns a call into span attributes, span events, content and metrics."""
