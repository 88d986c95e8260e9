"""The wire formats of Ollama, whose SDK is observed through its HTTP client."""
