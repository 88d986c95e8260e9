"""Redaction of what passes: secrets and personal data become typed tokens, and named tools get the values back."""
