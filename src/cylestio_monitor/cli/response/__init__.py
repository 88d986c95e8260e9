"""Commands for the response to findings: incidents and reports; a module is imported when its command is used."""
