"""The Anthropic SDK."""
