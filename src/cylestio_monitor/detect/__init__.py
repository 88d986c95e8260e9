"""Detectors that rules cannot be: models and services, asked beside the call and never on its path."""

from cylestio_monitor.detect.model import Detection, Detector, Factory
from cylestio_monitor.detect.worker import Asked, Detectors, start

__all__ = ["Asked", "Detection", "Detector", "Detectors", "Factory", "start"]
