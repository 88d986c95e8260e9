"""The pages about one run: its conversation, its timeline, and one of its spans."""
