"""The speed of the program on this machine: each stage alone, and the whole loop with its threads."""

from __future__ import annotations

import contextlib
import dataclasses
import resource
import tempfile
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Callable, Dict, List, Tuple

import numpy as np

from app.assembly import run
from app.capture.opening import open_reader
from app.capture.uri import Source, parse_source
from app.errors import SourceError
from app.gallery.gallery import Gallery
from app.gallery.strangers import LiveStrangers
from app.models.loading import ModelLoader
from app.output.annotate import Annotator
from app.output.progress import Progress
from app.output.video_encoders import open_video_writer
from app.pipeline import Pipeline
from app.recognizer import Recognizer
from app.settings import Settings
from app.text import percentage, table
from app.types import Frame

WARM_UP_FRAMES = 10

STAGES = ("decode", "preprocess", "detect", "boxes", "track", "align", "embed", "match", "strangers", "draw", "encode")
"""In the order in which a frame passes them. `boxes` decodes the outputs of the detector."""

NETWORK_OR_CODEC = ("decode", "detect", "embed", "encode")


@dataclass(frozen=True)
class LoopSpeed:
    """One run of the whole program with the recording."""

    description: str
    frames: int
    seconds: float
    cpu_ms_per_frame: float

    @property
    def frames_per_s(self) -> float:
        return self.frames / self.seconds


@dataclass
class LoopBenchmark:
    """All measurements."""

    recording: str
    faces_per_frame: float = 0.0
    runs_on: Dict[str, str] = field(default_factory=dict)
    """Backend of each network, and the reason for it."""
    stages_ms: Dict[str, List[float]] = field(default_factory=dict)
    loops: List[LoopSpeed] = field(default_factory=list)
    peak_memory_mb: float = 0.0

    @property
    def own_share(self) -> float:
        """The share of a frame's time that is neither network nor codec."""
        medians = {stage: float(np.median(spent)) for stage, spent in self.stages_ms.items()}
        own = sum(spent for stage, spent in medians.items() if stage not in NETWORK_OR_CODEC)
        return own / sum(medians.values())

    def text(self) -> str:
        rows = [
            (stage, f"{np.percentile(spent, 50):.2f}", f"{np.percentile(spent, 95):.2f}")
            for stage in STAGES
            if stage in self.stages_ms
            for spent in [self.stages_ms[stage]]
        ]
        loops = [(loop.description, f"{loop.frames_per_s:.1f}", f"{loop.cpu_ms_per_frame:.1f}") for loop in self.loops]
        networks_used = [f"{name} runs on {backend}" for name, backend in self.runs_on.items()]
        return "\n\n".join(
            [
                "\n".join([*networks_used, f"{self.recording}: {self.faces_per_frame:.1f} faces per frame"]),
                table(("stage, in sequence", "p50 ms", "p95 ms"), rows),
                f"neither network nor codec: {percentage(self.own_share, 1)} of a frame's time",
                table(("whole loop, video written", "frames/s", "CPU ms/frame"), loops),
                f"peak memory {self.peak_memory_mb:.0f} MB",
            ]
        )

    def as_json(self) -> Dict[str, Any]:
        return {
            "recording": self.recording,
            "faces_per_frame": self.faces_per_frame,
            "runs_on": self.runs_on,
            "stages_ms": {
                stage: {"p50": float(np.percentile(spent, 50)), "p95": float(np.percentile(spent, 95))}
                for stage, spent in self.stages_ms.items()
            },
            "neither_network_nor_codec": self.own_share,
            "loops": [{**dataclasses.asdict(loop), "frames_per_s": loop.frames_per_s} for loop in self.loops],
            "peak_memory_mb": self.peak_memory_mb,
        }


def measure_loop(settings: Settings, recording: Path, frames: int, progress: Progress) -> LoopBenchmark:
    """Measures the stages in sequence, then the whole loop: first embedding all faces, then as the settings say."""
    result = LoopBenchmark(str(recording.name))
    source = parse_source(str(recording), "bench")
    always = dataclasses.replace(settings, recognition=dataclasses.replace(settings.recognition, reembed_after_s=0.0))
    _measure_stages(always, source, frames, result, progress)
    for description, chosen in (
        ("every face embedded in every frame", always),
        (f"known faces again after {settings.recognition.reembed_after_s:g} s", settings),
    ):
        with tempfile.TemporaryDirectory() as folder:
            output = dataclasses.replace(settings.output, save=Path(folder) / "video.mp4", events=None, window=False)
            # Nothing of the recording gets among the strangers of the user's gallery.
            strangers = dataclasses.replace(chosen.strangers, folder=Path(folder) / "strangers")
            chosen = dataclasses.replace(chosen, output=output, strangers=strangers)
            report = run(chosen, [source], threading.Event, progress)
        summary = report.summary
        frames_done = max(1, summary.frames)
        speed = LoopSpeed(description, frames_done, summary.elapsed_s, summary.cpu_s * 1000 / frames_done)
        result.loops.append(speed)
    result.peak_memory_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return result


def _measure_stages(settings: Settings, source: Source, frames: int, result: LoopBenchmark, progress: Progress) -> None:
    on_progress = progress.counter("measuring stages")
    faces = 0
    with contextlib.ExitStack() as stack:
        reader = stack.enter_context(contextlib.closing(open_reader(source, settings.capture)))
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        recognizer = stack.enter_context(Recognizer.from_loader(ModelLoader(settings)))
        models = settings.models
        result.runs_on = {
            models.detector: str(recognizer.detector.runs_on),
            models.embedder: str(recognizer.embedder.runs_on),
        }
        gallery = stack.enter_context(contextlib.closing(Gallery(settings, recognizer)))
        gallery.load()
        strangers = LiveStrangers(
            settings.strangers, Path(folder) / "strangers", recognizer.embedder_id, recognizer.threshold
        )
        strangers.open(time.time())
        stack.callback(strangers.close)
        pipeline = Pipeline(recognizer, gallery, settings, strangers=strangers if settings.strangers.enabled else None)
        annotator = Annotator(settings.output.landmarks)
        writer = None
        for index in range(WARM_UP_FRAMES + frames):
            spent, raw = _timed(reader.read)
            if raw is None:
                break
            frame = Frame(
                raw.image,
                source.name,
                index,
                time.time(),
                raw.position,
                raw.continues,
                raw.file,
                live=reader.live,
                clock_s=time.monotonic(),
            )
            answer = pipeline.process(frame)
            draw_ms, picture = _timed(annotator.annotate, answer)
            writer = writer or open_video_writer(
                Path(folder) / "video.mp4",
                (picture.shape[1], picture.shape[0]),
                settings.output.video_crf,
                reader.fps,
                settings.output.video_encoder,
            )
            encode_ms, _ = _timed(writer.write, picture, index / (reader.fps or 25))
            on_progress(index + 1, WARM_UP_FRAMES + frames)
            if index < WARM_UP_FRAMES:
                continue
            faces += len(answer.faces)
            timings = {"decode": spent, **answer.timings_ms, "draw": draw_ms, "encode": encode_ms}
            for stage, milliseconds in timings.items():
                result.stages_ms.setdefault(stage, []).append(milliseconds)
        if writer is not None:
            writer.close(0.04)
    if not result.stages_ms:
        raise SourceError(f"{source} is too short: more than {WARM_UP_FRAMES} frames are needed")
    result.faces_per_frame = faces / len(result.stages_ms["decode"])


def _timed(work: Callable[..., Any], *arguments: Any) -> Tuple[float, Any]:
    start = time.perf_counter()
    value = work(*arguments)
    return (time.perf_counter() - start) * 1000, value
