"""Observation of the generated SDK clients (Anthropic, OpenAI): requests, response bodies and streams."""
