"""The use of the arguments of a tool call: executed, written or searched for."""
