"""Detectors and moderators: models and services, asked beside the call and never on its path."""

from cylestio_monitor.detect.detectors import Detectors
from cylestio_monitor.detect.model import Detection, Detector, Factory, Moderation, Moderator, ModeratorFactory
from cylestio_monitor.detect.moderators import ModerationReport, Moderators
from cylestio_monitor.detect.worker import Asked, Worker, start

__all__ = [
    "Asked",
    "Detection",
    "Detector",
    "Detectors",
    "Factory",
    "Moderation",
    "ModerationReport",
    "Moderator",
    "ModeratorFactory",
    "Moderators",
    "Worker",
    "start",
]
