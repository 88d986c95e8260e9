"""The Google Gen AI SDK."""
