"""Readers of message shapes that several SDKs share."""
