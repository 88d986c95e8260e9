"""Delivery over OTLP: the outbox table, the sender, the exporters and the encoders."""
