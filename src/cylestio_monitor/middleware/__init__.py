"""Middleware that names the actor of every call made for a web request: its user, roles, session and agent."""

from cylestio_monitor.middleware.asgi import ASGIMiddleware
from cylestio_monitor.middleware.baggage import identity_baggage
from cylestio_monitor.middleware.request import IncomingRequest
from cylestio_monitor.middleware.wsgi import WSGIMiddleware

__all__ = ["ASGIMiddleware", "IncomingRequest", "WSGIMiddleware", "identity_baggage"]
