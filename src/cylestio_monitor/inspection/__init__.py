"""The scan of one call: surfaces, repeated history, streamed text, contained errors."""

from cylestio_monitor.inspection.collected import MAX_FINDINGS, CollectedFindings, NewFindings
from cylestio_monitor.inspection.inspection import Inspection, SeenParts, last_turn
from cylestio_monitor.inspection.reported import FirstSpeakers, ReportedFindings
from cylestio_monitor.inspection.streamed_text import StreamedText

__all__ = [
    "MAX_FINDINGS",
    "CollectedFindings",
    "FirstSpeakers",
    "Inspection",
    "NewFindings",
    "ReportedFindings",
    "SeenParts",
    "StreamedText",
    "last_turn",
]
