"""The wire formats of Cohere, whose SDK is observed through its HTTP client."""
