"""State of control in the store: approvals, limits and tool definitions, shared by all processes of a store."""
