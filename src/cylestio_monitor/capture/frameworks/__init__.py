"""Agent frameworks, one module or folder each."""
