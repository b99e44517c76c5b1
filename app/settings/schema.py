"""Every number and name that a user may choose: one typed tree, one place.

Each setting is declared once, with its default, its bounds and its description. The keys of `config.yaml`, the
command line's options, the checks and the table of `--show-settings` are all made from these declarations.
`app/settings/reader.py` fills the tree.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields, is_dataclass
from pathlib import Path
from typing import Any, Dict, Iterator, Optional, Sequence, Tuple, Union, get_type_hints

from app.files import PROGRAM_FOLDER


def setting(
    default: Any,
    help: str,
    *,
    flag: Optional[str] = None,
    metavar: Optional[str] = None,
    minimum: Optional[float] = None,
    maximum: Optional[float] = None,
    choices: Optional[Sequence[str]] = None,
    secret: bool = False,
) -> Any:
    """A field of the tree with what the reader and the command line need to know. A secret value is never shown."""
    facts = {
        "help": help,
        "flag": flag,
        "metavar": metavar,
        "minimum": minimum,
        "maximum": maximum,
        "choices": choices,
        "secret": secret,
    }
    return field(default=default, metadata=facts)


@dataclass(frozen=True)
class CaptureSettings:
    """How frames come in."""

    backend: str = setting(
        "auto",
        "who decodes: OpenCV's FFmpeg, or GStreamer (Jetson's hardware decoder, CSI cameras); "
        "auto takes GStreamer on a Jetson whose OpenCV has it",
        flag="--capture-backend",
        choices=("auto", "ffmpeg", "gstreamer"),
    )
    rtsp_transport: str = setting("tcp", "how RTSP carries its packets", choices=("tcp", "udp"))
    rtsp_codec: str = setting(
        "auto", "codec of RTSP cameras for GStreamer's pipeline", choices=("auto", "h264", "h265")
    )
    open_timeout_s: float = setting(5.0, "give up opening a live source after this time", minimum=0.1, maximum=600)
    read_timeout_s: float = setting(5.0, "a live source silent for this long is reopened", minimum=0.1, maximum=600)
    retry_first_s: float = setting(
        1.0, "wait before the first reconnection, doubled each time", minimum=0.01, maximum=60
    )
    retry_most_s: float = setting(30.0, "longest wait between two reconnections", minimum=0.01, maximum=3600)
    width: int = setting(1280, "width asked of a USB or CSI camera", minimum=16, maximum=7680)
    height: int = setting(720, "height asked of a USB or CSI camera", minimum=16, maximum=4320)
    fps: float = setting(30.0, "frames a second asked of a USB or CSI camera", minimum=1, maximum=240)
    csi_flip: int = setting(
        0, "rotation of a CSI camera: 0 none, 2 upside down (nvvidconv's flip-method)", minimum=0, maximum=7
    )
    queue_frames: int = setting(4, "frames of a recording read ahead", minimum=1, maximum=256)


@dataclass(frozen=True)
class ModelSettings:
    """Which networks run, and on what."""

    catalog: Path = setting(PROGRAM_FOLDER / "engines/catalog.yaml", "the models that can be chosen")
    detector: str = setting(
        "retinaface_mnet025", "finds the faces; a name from the catalogue", flag="--detector", metavar="NAME"
    )
    embedder: str = setting(
        "mobilefacenet", "tells them apart; a name from the catalogue", flag="--embedder", metavar="NAME"
    )
    backend: str = setting(
        "auto",
        "what runs the networks; auto takes the fastest that works here and says why",
        flag="--backend",
        choices=("auto", "tensorrt", "openvino", "onnx"),
    )
    precision: str = setting(
        "auto",
        "arithmetic of the networks; auto is the fastest that keeps the accuracy",
        flag="--precision",
        choices=("auto", "fp32", "fp16", "bf16", "int8"),
    )
    threads: int = setting(0, "CPU threads a network may use; 0 = as many as there are cores", minimum=0, maximum=256)


@dataclass(frozen=True)
class DetectionSettings:
    """What counts as a face."""

    input_size: int = setting(
        640,
        "the frame's longer side is shrunk to this before detection; larger finds smaller faces, slower",
        minimum=64,
        maximum=4096,
    )
    min_score: Optional[float] = setting(
        None, "least score of a face; default: the detector's own, from the catalogue", minimum=0.01, maximum=1
    )
    nms_iou: float = setting(0.4, "boxes that overlap more than this are the same face", minimum=0.05, maximum=0.95)


@dataclass(frozen=True)
class QualityLimits:
    """The limits of the quality gates (`app/identity/gates.py`) for one use. The defaults let every face pass."""

    min_score: float = 0.0
    min_face_px: float = 0.0
    min_sharpness: float = 0.0


@dataclass(frozen=True)
class GallerySettings:
    """Who is known, and which photos are good enough to know them by."""

    folder: Path = setting(
        PROGRAM_FOLDER / "gallery",
        "photos of known people: NAME.jpg, NAME_1.jpg, NAME/any.jpg",
        flag="--gallery",
        metavar="DIR",
    )
    reload_every_s: float = setting(
        2.0, "how often the folder is looked at for changes; 0 = never", minimum=0, maximum=3600
    )
    min_face_px: float = setting(40.0, "least width and height of a face in a photo", minimum=1, maximum=1000)
    min_score: Optional[float] = setting(
        None,
        "least score of a face in a photo, which should be a face beyond doubt; null = the detector's own, mostly 0.8",
        minimum=0.01,
        maximum=1,
    )
    min_sharpness: float = setting(
        20.0, "least sharpness of a face in a photo (variance of its Laplacian)", minimum=0, maximum=10000
    )


@dataclass(frozen=True)
class RecognitionSettings:
    """When a face gets a name."""

    threshold: Optional[float] = setting(
        None,
        "least cosine similarity for a name; default: the embedder's own, from the catalogue",
        flag="--threshold",
        metavar="T",
        minimum=-1,
        maximum=1,
    )
    margin: float = setting(0.03, "the runner-up must be at least this much less similar", minimum=0, maximum=1)
    min_face_px: float = setting(20.0, "smaller faces are not compared", minimum=1, maximum=1000)
    vote_window: int = setting(5, "number of recent comparisons that vote on a track's name", minimum=1, maximum=50)
    min_votes: int = setting(2, "votes that must agree before a track gets a name", minimum=1, maximum=50)
    reembed_after_s: float = setting(
        1.0, "a settled track is compared again after this time; 0 = in every frame", minimum=0, maximum=3600
    )


@dataclass(frozen=True)
class AttributeSettings:
    """What is told of a face besides who it is. All off: names of models from the catalogue switch them on."""

    gender_age: Optional[str] = setting(
        None, "tells gender and age; a model such as genderage", flag="--gender-age", metavar="NAME"
    )
    mask: Optional[str] = setting(
        None, "tells who wears a mask; a model of the family mask", flag="--mask", metavar="NAME"
    )
    antispoof: Optional[str] = setting(
        None, "tells people from photos and screens; a model such as minifasnet_v2", flag="--antispoof", metavar="NAME"
    )
    landmarks106: Optional[str] = setting(
        None,
        "106 points of each face in every frame; a model such as 2d106det",
        flag="--landmarks106",
        metavar="NAME",
    )
    head_pose: bool = setting(False, "where each face looks; needs no model", flag="--head-pose")

    @property
    def models(self) -> Dict[str, str]:
        """By family: the names of the models that were chosen."""
        chosen = {
            "gender_age": self.gender_age,
            "mask": self.mask,
            "antispoof": self.antispoof,
            "landmarks106": self.landmarks106,
        }
        return {family: name for family, name in chosen.items() if name is not None}


@dataclass(frozen=True)
class TrackingSettings:
    """How a face is followed from frame to frame."""

    min_iou: float = setting(0.3, "least overlap with the place where the face was", minimum=0.01, maximum=0.99)
    min_hits: int = setting(2, "frames before a face counts as present", minimum=1, maximum=100)
    forget_after_s: float = setting(1.0, "a face unseen for this long has left", minimum=0, maximum=600)


@dataclass(frozen=True)
class OutputSettings:
    """Where the answer goes."""

    save: Optional[Path] = setting(
        None,
        "write the annotated film; with several channels one file each, OUT-CHANNEL.mp4; {date} and {time} in the "
        "name are filled in",
        flag="--save",
        metavar="OUT.mp4",
    )
    overwrite: bool = setting(False, "replace files that exist", flag="--overwrite")
    events: Optional[Path] = setting(
        None,
        "write who came and went, one JSON object a line; {date} and {time} as above",
        flag="--events",
        metavar="OUT.jsonl",
    )
    window: Optional[bool] = setting(None, "show a window; default: when there is a display", flag="--window")
    landmarks: bool = setting(False, "draw the five landmarks (key l in the window)", flag="--landmarks")
    snapshots: Path = setting(Path("snapshots"), "where key s in the window saves pictures", metavar="DIR")
    video_crf: int = setting(23, "quality of the film: 0 lossless, 51 worst", minimum=0, maximum=51)
    queue_frames: int = setting(
        8, "frames that may wait for a slow output before a live source's are skipped", minimum=1, maximum=256
    )


@dataclass(frozen=True)
class RunSettings:
    """How long it runs, and how much it tells."""

    max_frames: Optional[int] = setting(
        None,
        "stop after this many processed frames of all channels together",
        flag="--max-frames",
        metavar="N",
        minimum=1,
    )
    duration_s: Optional[float] = setting(
        None, "stop after this many seconds", flag="--duration", metavar="S", minimum=0.001
    )
    log_level: str = setting(
        "info", "how much is logged", flag="--log-level", choices=("debug", "info", "warning", "error")
    )


@dataclass(frozen=True)
class Settings:
    """The whole tree. `sources` maps a channel's name to its address; see `app/capture/uri.py` for the grammar."""

    sources: Tuple[Tuple[Optional[str], str], ...] = ()
    capture: CaptureSettings = CaptureSettings()
    models: ModelSettings = ModelSettings()
    detection: DetectionSettings = DetectionSettings()
    gallery: GallerySettings = GallerySettings()
    recognition: RecognitionSettings = RecognitionSettings()
    attributes: AttributeSettings = AttributeSettings()
    tracking: TrackingSettings = TrackingSettings()
    output: OutputSettings = OutputSettings()
    run: RunSettings = RunSettings()


@dataclass(frozen=True)
class SettingInfo:
    """One setting: its place in the tree and the values it takes."""

    key: str
    """Dotted, as in `recognition.threshold`."""
    value_type: type
    optional: bool
    default: Any
    help: str
    flag: Optional[str]
    metavar: Optional[str]
    minimum: Optional[float]
    maximum: Optional[float]
    choices: Optional[Sequence[str]]
    secret: bool

    @property
    def section(self) -> str:
        return self.key.partition(".")[0]

    @property
    def name(self) -> str:
        return self.key.partition(".")[2]

    @property
    def shown_default(self) -> str:
        """For help and templates: the same on every machine."""
        if isinstance(self.default, Path) and PROGRAM_FOLDER in self.default.parents:
            return str(self.default.relative_to(PROGRAM_FOLDER))
        return str(self.default)


def sections() -> Dict[str, type]:
    """The tree's sections by name, in their order."""
    hints = get_type_hints(Settings)
    return {part.name: hints[part.name] for part in fields(Settings) if is_dataclass(hints[part.name])}


def all_settings() -> Iterator[SettingInfo]:
    """Every setting but the sources, in the order of the tree."""
    for section, section_class in sections().items():
        hints = get_type_hints(section_class)
        for declared in fields(section_class):
            hint = hints[declared.name]
            optional = getattr(hint, "__origin__", None) is Union
            yield SettingInfo(
                key=f"{section}.{declared.name}",
                value_type=next(part for part in hint.__args__ if part is not type(None)) if optional else hint,
                optional=optional,
                default=declared.default,
                **declared.metadata,
            )
