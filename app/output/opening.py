"""From settings to outputs: what cannot be written is refused here, before a run starts."""

from __future__ import annotations

from pathlib import Path
from typing import List, Sequence

from app.errors import OutputError
from app.events.file import EventFile
from app.events.sinks import EventPublisher, EventSink
from app.output.annotate import Annotator
from app.output.outputs import Output, Outputs, OutputThread
from app.output.paths import channel_path, dated, refuse_collisions
from app.output.text_renderer import TextRenderer
from app.output.video import VideoOutput
from app.settings import OutputSettings


def open_outputs(
    settings: OutputSettings, channels: Sequence[str], reading: Sequence[Path] = (), moment: float = 0.0
) -> Outputs:
    """The event log and the videos that the settings ask for.

    `reading` are the recordings that the run reads, which are never overwritten; `moment` is the time for `{date}` and
    `{time}` in a name. Raises OutputError when one of the files may not be written; nothing is left open then, since
    videos are opened with their first frame, and the event log comes last.
    """
    video_paths = []
    if settings.save is not None:
        path = dated(settings.save, moment)
        if path.suffix.lower() != ".mp4":
            raise OutputError(f"{path}: videos are written as MP4; choose a name that ends in .mp4")
        video_paths = [channel_path(path, channel, channels) for channel in channels]
    event_paths = [] if settings.events is None else [dated(settings.events, moment)]
    refuse_collisions([*video_paths, *event_paths], reading)
    annotator = Annotator(settings.landmarks, settings.why, TextRenderer())
    videos = [
        VideoOutput(path, annotator, crf=settings.video_crf, overwrite=settings.overwrite) for path in video_paths
    ]
    sinks: List[EventSink] = [EventFile(path, settings.overwrite) for path in event_paths]
    # Events first: a slow video may block the loop, and by then everything that happened is recorded.
    outputs: List[Output] = [EventPublisher(sinks)] if sinks else []
    outputs += [OutputThread(video, settings.queue_frames, channel=channel) for video, channel in zip(videos, channels)]
    return Outputs(outputs)
