"""Commands for the response to findings: alerts, incidents and reports."""
