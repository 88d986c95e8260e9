"""What a call becomes: span attributes, span events, content and metrics."""
