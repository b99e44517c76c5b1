"""Face recognition for live video and pictures: faces are found, people are named, events are reported.

This is the public API; everything else may change without notice. See docs/library.md.

Example:
    >>> from app import Recognizer
    >>> with Recognizer.from_settings() as recognizer:
    ...     recognizer.find([])
    []
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any, List

__version__ = "0.1.0"

if TYPE_CHECKING:
    from app.capture.frame_source import FrameSource, open_source
    from app.capture.pictures import read_picture
    from app.errors import AppError, GalleryError, ModelError, OutputError, SettingsError, SourceError
    from app.events.event import Event, FaceEvent, SourceEvent
    from app.events.sinks import EventPublisher, EventSink
    from app.events.stream import EventStream
    from app.gallery.gallery import Added, Gallery, NewPhoto, Refused
    from app.identity.index import PersonIndex
    from app.network_thread import NetworkThread, Priority
    from app.output.annotate import Annotator
    from app.output.outputs import Output
    from app.pipeline import Pipeline
    from app.recognizer import Recognizer
    from app.settings import Settings
    from app.settings.reader import load_settings
    from app.types import FaceAttributes, FaceQuality, Faces, Frame, FrameResult, Look, Match, Reason, Track

__all__ = [
    "Added",
    "Annotator",
    "AppError",
    "Event",
    "EventPublisher",
    "EventSink",
    "EventStream",
    "FaceAttributes",
    "FaceEvent",
    "FaceQuality",
    "Faces",
    "Frame",
    "FrameResult",
    "FrameSource",
    "Gallery",
    "GalleryError",
    "Look",
    "Match",
    "ModelError",
    "NetworkThread",
    "NewPhoto",
    "Output",
    "OutputError",
    "PersonIndex",
    "Pipeline",
    "Priority",
    "Reason",
    "Recognizer",
    "Refused",
    "Settings",
    "SettingsError",
    "SourceError",
    "SourceEvent",
    "Track",
    "__version__",
    "load_settings",
    "open_source",
    "read_picture",
]

_MODULES = {
    "app.capture.frame_source": ("FrameSource", "open_source"),
    "app.capture.pictures": ("read_picture",),
    "app.errors": ("AppError", "GalleryError", "ModelError", "OutputError", "SettingsError", "SourceError"),
    "app.events.event": ("Event", "FaceEvent", "SourceEvent"),
    "app.events.sinks": ("EventPublisher", "EventSink"),
    "app.events.stream": ("EventStream",),
    "app.gallery.gallery": ("Added", "Gallery", "NewPhoto", "Refused"),
    "app.identity.index": ("PersonIndex",),
    "app.network_thread": ("NetworkThread", "Priority"),
    "app.output.annotate": ("Annotator",),
    "app.output.outputs": ("Output",),
    "app.pipeline": ("Pipeline",),
    "app.recognizer": ("Recognizer",),
    "app.settings": ("Settings",),
    "app.settings.reader": ("load_settings",),
    "app.types": (
        "FaceAttributes",
        "FaceQuality",
        "Faces",
        "Frame",
        "FrameResult",
        "Look",
        "Match",
        "Reason",
        "Track",
    ),
}
_MODULE_OF = {name: module for module, names in _MODULES.items() for name in names}


def __getattr__(name: str) -> Any:
    """Imports a public name when it is first used, so that `import app` and `--help` stay fast."""
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_MODULE_OF[name]), name)


def __dir__() -> List[str]:
    return sorted({*globals(), *__all__})
