"""Control of tool calls: policy, provenance, approvals, limits and pinned tool definitions."""
