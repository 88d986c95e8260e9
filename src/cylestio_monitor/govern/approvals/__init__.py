"""Approvals: a call that a policy asks about waits until a person allows or denies it.

An approval covers one call. It is bound to session, tool, digest of the arguments and policy version, it expires, and
it can be spent once.
"""

from cylestio_monitor.govern.approvals.framework import FrameworkApprovals
from cylestio_monitor.govern.approvals.ledger import ApprovalLedger, MemoryLedger
from cylestio_monitor.govern.approvals.request import ApprovalRequest, ApprovalState, call_digest
from cylestio_monitor.govern.approvals.waiting import Approvals, Decider

__all__ = [
    "ApprovalLedger",
    "ApprovalRequest",
    "ApprovalState",
    "Approvals",
    "Decider",
    "FrameworkApprovals",
    "MemoryLedger",
    "call_digest",
]
