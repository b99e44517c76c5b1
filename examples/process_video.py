"""Process a video with an output and an event sink of your own.

python examples/process_video.py gallery/ visit.mp4
"""

import sys

from app import EventStream, Gallery, Pipeline, Recognizer, open_source


def show(result):
    print("frame", result.frame.index, [match.name or str(match.reason) for match in result.matches])


class ConsoleSink:
    """An event sink: anything with `name`, `write` and `close`."""

    name = "console"

    def write(self, event):
        print(f"EVENT {event.kind}: {event.match.name or 'unknown'} on {event.channel}, track {event.track}")

    def close(self):
        print("EVENTS end")


folder, video = sys.argv[1:] if len(sys.argv) == 3 else sys.exit(__doc__)
events, sink = EventStream(), ConsoleSink()
with Recognizer.from_settings() as recognizer, Gallery.open(folder, recognizer) as gallery:
    pipeline = Pipeline(recognizer, gallery)
    with open_source(video) as frames:
        for frame in frames:
            result = pipeline.process(frame)
            show(result)
            for event in events.handle(result):
                sink.write(event)
for event in events.close():
    sink.write(event)
sink.close()
