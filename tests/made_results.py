"""Results as the pipeline would hand them over, made by hand."""

import numpy as np

from app.types import NO_TRACK, Faces, Frame, FrameResult, Match, Reason, Track

ANN = Match("Ann", Reason.MATCHED, 0.67)
STRANGER = Match(None, Reason.BELOW_THRESHOLD, 0.21)


def picture(width=320, height=180, grey=90):
    return np.full((height, width, 3), grey, np.uint8)


def frame(index=0, *, source="front", position=None, captured_at=None, continues=True, image=None, file=None, **more):
    """A live frame, unless it has a position (of a recording) or does not continue (of a folder of pictures)."""
    return Frame(
        image=picture() if image is None else image,
        source=source,
        index=index,
        captured_at=1_800_000_000.0 + index * 0.04 if captured_at is None else captured_at,
        position=position,
        continues=continues,
        file=file,
        live=position is None and continues,
        **more,
    )


def result(made_frame=None, boxes=(), matches=(), tracks=(), latency_s=0.01, track_ids=None):
    """Without `track_ids`, the faces have no tracks, and the tracks are hidden."""
    boxes = np.array(boxes, np.float32).reshape(-1, 4)
    middles = (boxes[:, :2] + boxes[:, 2:]) / 2
    return FrameResult(
        frame=frame() if made_frame is None else made_frame,
        faces=Faces(boxes, np.ones(len(boxes), np.float32), np.repeat(middles[:, None], 5, axis=1)),
        matches=tuple(matches),
        track_ids=tuple(track_ids or (NO_TRACK,) * len(boxes)),
        tracks=tuple(tracks),
        latency_s=latency_s,
    )


def track(number, match=STRANGER, box=(10.4, 20.6, 30, 40), first_seen=0.0, last_seen=0.0):
    return Track(number, np.array(box, np.float32), match, first_seen, last_seen)


def visit(publisher, times=1):
    """Three events each."""
    for _ in range(times):
        publisher.handle(result(frame(), tracks=[track(1, ANN)]))
        publisher.handle(result(frame()))
