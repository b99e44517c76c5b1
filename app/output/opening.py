"""From settings to outputs: everything that can be refused is refused here, before a run begins."""

from __future__ import annotations

from pathlib import Path
from typing import List, Optional, Sequence

from app.errors import OutputError
from app.events.file import EventFile
from app.events.sinks import EventPublisher
from app.output.annotate import Annotator
from app.output.outputs import Outputs, OutputThread
from app.output.paths import channel_path, dated, refuse_collisions
from app.output.text_renderer import TextRenderer
from app.output.video import VideoOutput
from app.settings import OutputSettings


def open_outputs(
    settings: OutputSettings,
    channels: Sequence[str],
    reading: Sequence[Path] = (),
    moment: float = 0.0,
    renderer: Optional[TextRenderer] = None,
) -> Outputs:
    """The films and the event log that the settings ask for, each in its own thread.

    `reading` are the recordings that the run reads, which are never written over; `moment` is what `{date}` and
    `{time}` in a name stand for. The window and the progress line belong to the main thread and are not among the
    outputs. Raises OutputError when one of the files may not be written; nothing is left open then, since films are
    opened with their first frame and the event log comes last.
    """
    renderer = renderer or TextRenderer()
    film_paths = [] if settings.save is None else _film_paths(dated(settings.save, moment), channels)
    events_path = None if settings.events is None else dated(settings.events, moment)
    refuse_collisions([*film_paths, *([] if events_path is None else [events_path])], reading)
    films = [
        VideoOutput(path, Annotator(settings.landmarks, renderer), crf=settings.video_crf, overwrite=settings.overwrite)
        for path in film_paths
    ]
    # Events come first: a slow video may hold up the loop, and what has happened is recorded by then.
    publishers = [] if events_path is None else [EventPublisher([EventFile(events_path, settings.overwrite)])]
    threads = [OutputThread(film, settings.queue_frames, channel=channel) for film, channel in zip(films, channels)]
    return Outputs([*publishers, *threads])


def _film_paths(path: Path, channels: Sequence[str]) -> List[Path]:
    if path.suffix.lower() != ".mp4":
        raise OutputError(f"{path}: films are MP4; choose a name that ends in .mp4")
    return [channel_path(path, channel, channels) for channel in channels]
