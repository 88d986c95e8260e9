"""Commands for the first steps: an example run, and the files of a collector."""
