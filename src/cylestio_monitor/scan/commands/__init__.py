"""How the arguments of a tool call are used, and what of them is executed."""
