"""Environments with packages that the project's own must not depend on, and programs that run in them."""

from peers.environment import environment, run

__all__ = ["environment", "run"]
