"""The audit trail: the hash chain, signed checkpoints, verification and evidence bundles."""
