"""The recorded conversation of a trace, and the places of findings and values in it."""
