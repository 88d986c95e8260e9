"""The parts of a logged event: its record, the findings of sign-ins, and the events of moderators."""
