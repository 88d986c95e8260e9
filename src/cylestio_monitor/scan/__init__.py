"""The scanner: texts and values in, findings out."""

from cylestio_monitor.scan.scanner import Scanner
from cylestio_monitor.scan.stream import TextStream

__all__ = ["Scanner", "TextStream"]
