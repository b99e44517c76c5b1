"""From settings to outputs: everything that can be refused is refused here, before a run begins."""

from __future__ import annotations

from typing import List, Optional, Sequence, Tuple

from app.output.annotate import Annotator
from app.output.events import EventLog
from app.output.lettering import Lettering
from app.output.outputs import Outputs, OutputThread
from app.output.paths import channel_path
from app.output.video import VideoOutput
from app.settings import OutputSettings


def open_outputs(settings: OutputSettings, channels: Sequence[str], lettering: Optional[Lettering] = None) -> Outputs:
    """The films and the event log that the settings ask for, each in its own thread.

    The window and the progress line belong to the main thread and are not among them. Raises OutputError when one of
    the files may not be written; nothing is left open then, since films are opened with their first frame and the
    event log comes last.
    """
    lettering = lettering or Lettering()
    films: List[Tuple[VideoOutput, str]] = []
    if settings.save is not None:
        for channel in channels:
            film = VideoOutput(
                channel_path(settings.save, channel, channels),
                Annotator(settings.landmarks, lettering),
                crf=settings.video_crf,
                overwrite=settings.overwrite,
            )
            films.append((film, channel))
    log = None if settings.events is None else EventLog(settings.events, settings.overwrite)
    threads = [OutputThread(film, settings.queue_frames, channel=channel) for film, channel in films]
    if log is not None:
        threads.append(OutputThread(log, settings.queue_frames))
    return Outputs(threads)
