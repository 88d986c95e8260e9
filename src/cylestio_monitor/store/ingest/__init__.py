"""The way into the store: the bounded queue, the span encoder and the writer thread."""
