"""The local web UI: server-rendered pages over the store, for `cylestio ui`."""
