"""From settings to outputs: everything that can be refused is refused here, before a run begins."""

from __future__ import annotations

from typing import List, Optional, Sequence

from app.errors import OutputError
from app.output.annotate import Annotator
from app.output.events import EventLog
from app.output.lettering import Lettering
from app.output.outputs import Outputs, OutputThread
from app.output.paths import channel_path
from app.output.video import VideoOutput
from app.settings import OutputSettings


def open_outputs(settings: OutputSettings, channels: Sequence[str], lettering: Optional[Lettering] = None) -> Outputs:
    """The films and the event log that the settings ask for, each in its own thread.

    The window and the progress line belong to the main thread and are not among them. Raises OutputError, with
    everything closed again, when one of the files may not be written.
    """
    lettering = lettering or Lettering()
    opened: List[OutputThread] = []
    try:
        if settings.save is not None:
            for channel in channels:
                film = VideoOutput(
                    channel_path(settings.save, channel, channels),
                    Annotator(settings.landmarks, lettering),
                    crf=settings.video_crf,
                    overwrite=settings.overwrite,
                )
                opened.append(OutputThread(film, settings.queue_frames, channel=channel))
        if settings.events is not None:
            opened.append(OutputThread(EventLog(settings.events, settings.overwrite), settings.queue_frames))
    except OutputError:
        Outputs(opened).close()
        raise
    return Outputs(opened)
