"""Processing of findings: redaction and silences."""
