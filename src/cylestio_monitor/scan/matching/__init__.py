"""Matching: compiled rules, engines, location and confirmation of matches."""
