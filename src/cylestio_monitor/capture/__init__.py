"""One module per SDK or framework: what to wrap, how to read its call and its answer."""
