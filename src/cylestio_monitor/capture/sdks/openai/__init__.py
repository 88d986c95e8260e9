"""The OpenAI SDK."""
