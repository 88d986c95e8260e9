"""Model provider SDKs, one folder each."""
