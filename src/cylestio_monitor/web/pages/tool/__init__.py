"""The pages about tools: definitions and calls, one tool, and the graph of agents and tools."""
