"""The documented query helpers over the local store."""
