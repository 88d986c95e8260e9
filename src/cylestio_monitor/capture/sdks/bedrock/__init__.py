"""Amazon Bedrock through boto3: what is waited for, and until then nothing else is imported."""

from __future__ import annotations

from cylestio_monitor.capture.instrumentor import Instrumentor


class BedrockInstrumentor(Instrumentor):
    """Observes the model calls of every `bedrock-runtime` client, those that exist already included."""

    modules = ("botocore.client",)
    dependencies = ("botocore >= 1.34",)
    hooks = "hooks"
