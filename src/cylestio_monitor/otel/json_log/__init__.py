"""The JSON-lines log of events: its writer, and the private file that it writes to."""
