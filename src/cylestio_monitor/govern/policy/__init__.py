"""Policy as data: the document, its loader, its checks and the decisions."""

from cylestio_monitor.govern.policy.document import Action, PolicyDocument, PolicyRule
from cylestio_monitor.govern.policy.engine import Policy, PolicyDecision

__all__ = ["Action", "Policy", "PolicyDecision", "PolicyDocument", "PolicyRule"]
