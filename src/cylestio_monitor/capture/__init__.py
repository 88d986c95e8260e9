"""One module or folder per SDK or framework: what is wrapped, and how its calls and answers are read.

The public instrumentor classes are importable from ``cylestio_monitor.capture.<sdk>``, for example
``from cylestio_monitor.capture.anthropic import AnthropicInstrumentor``. `registry` holds the table of them.
"""

from cylestio_monitor.capture import registry

registry.register_public_modules()
