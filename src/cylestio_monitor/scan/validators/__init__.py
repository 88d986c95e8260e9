"""Validators of a match: format checks and check digits."""
