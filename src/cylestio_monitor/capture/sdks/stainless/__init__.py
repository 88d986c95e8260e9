"""SDKs that Stainless generates, recognised by their shape."""
