"""Commands about the control of tool calls: policy and approvals."""
