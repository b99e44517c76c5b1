"""Every number and name that a user can set: one typed tree, in one place.

Each setting is declared once, with its default, its bounds and its description. The template `config.yaml`, the
options of the command line, the checks and the table of `--show-settings` are all made from these declarations.
`app/settings/reader.py` fills the tree.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, is_dataclass, replace
from pathlib import Path
from typing import Dict, Iterator, Optional, Tuple, Union, get_type_hints

from app.files import PROGRAM_FOLDER
from app.settings.attention import AttentionSettings
from app.settings.capture import CaptureSettings
from app.settings.channels import ChannelValues
from app.settings.declaration import SettingInfo, setting
from app.settings.degrade import DegradeSettings
from app.settings.delivery import (
    DeliverySettings,
    KafkaSettings,
    MqttSettings,
    NatsSettings,
    OnEventSettings,
    WebhookSettings,
)
from app.settings.fleet import FleetSettings
from app.settings.frigate import FrigateSettings
from app.settings.monitoring import MonitoringSettings
from app.settings.quality import QualitySettings
from app.settings.recognition import RecognitionSettings
from app.settings.recording import RecordSettings
from app.settings.remote import RemoteSettings
from app.settings.serve import ServeSettings
from app.settings.view import ViewSettings


@dataclass(frozen=True)
class ModelSettings:
    """Which models run, and on what."""

    catalog: Path = setting(PROGRAM_FOLDER / "engines/catalog.yaml", "catalogue of models")
    detector: str = setting(
        "retinaface_mnet025", "face detection model (see `engines list`)", flag="--detector", metavar="NAME"
    )
    embedder: str = setting(
        "mobilefacenet", "face embedding model (see `engines list`)", flag="--embedder", metavar="NAME"
    )
    backend: str = setting(
        "auto",
        "inference backend; auto uses the fastest that works on this machine",
        flag="--backend",
        choices=("auto", "tensorrt", "openvino", "onnx"),
    )
    precision: str = setting(
        "auto",
        "numeric precision; auto uses the fastest that keeps the accuracy",
        flag="--precision",
        choices=("auto", "fp32", "fp16", "bf16", "int8"),
    )
    threads: int = setting(0, "CPU threads per model; 0 = one per core", minimum=0, maximum=256)


@dataclass(frozen=True)
class DetectionSettings:
    """What counts as a face."""

    input_size: int = setting(
        640,
        "longer side of the detector's input in pixels; larger values find smaller faces and are slower",
        flag="--input-size",
        metavar="PX",
        minimum=64,
        maximum=4096,
    )
    min_score: Optional[float] = setting(
        None,
        "minimum score of a face; by default that of the detector",
        flag="--min-score",
        metavar="SCORE",
        minimum=0.01,
        maximum=1,
    )
    nms_iou: float = setting(
        0.4, "boxes that overlap by more than this (IoU) are the same face", minimum=0.05, maximum=0.95
    )


@dataclass(frozen=True)
class GallerySettings:
    """Where the photos of the enrolled people are."""

    folder: Path = setting(
        PROGRAM_FOLDER / "gallery",
        "photos of known people: NAME.jpg, NAME_1.jpg, NAME/any.jpg",
        flag="--gallery",
        metavar="DIR",
    )
    reload_every_s: float = setting(
        2.0, "seconds between two checks of the folder for changes; 0 = never", minimum=0, maximum=3600
    )


@dataclass(frozen=True)
class AttributeSettings:
    """What is estimated for each face besides its name. Naming a model of the catalogue enables an attribute."""

    gender_age: Optional[str] = setting(
        None, "estimate gender and age with this model, e.g. genderage_utk", flag="--gender-age", metavar="NAME"
    )
    mask: Optional[str] = setting(
        None, "detect face masks with this model, e.g. mask_drawn", flag="--mask", metavar="NAME"
    )
    antispoof: Optional[str] = setting(
        None,
        "detect photos and screens (liveness) with this model, e.g. minifasnet_v2",
        flag="--antispoof",
        metavar="NAME",
    )
    landmarks106: Optional[str] = setting(
        None,
        "locate 106 landmarks per face with this model, e.g. 2d106det",
        flag="--landmarks106",
        metavar="NAME",
    )
    head_pose: bool = setting(False, "estimate the head pose; needs no model", flag="--head-pose")

    @property
    def models(self) -> Dict[str, str]:
        """The names of the chosen models by family."""
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

    min_iou: float = setting(0.3, "minimum overlap (IoU) with the face's previous box", minimum=0.01, maximum=0.99)
    min_hits: int = setting(2, "frames in which a face must be seen before it is reported", minimum=1, maximum=100)
    min_hits_unknown: int = setting(
        4,
        "the same for an unknown face, unless it was once seen clearly: things that are no faces rarely last",
        minimum=1,
        maximum=100,
    )
    forget_after_s: float = setting(
        1.0, "seconds after which a face that is no longer seen is not followed any more", minimum=0, maximum=600
    )
    visit_gap_s: float = setting(
        10.0,
        "seconds for which a person may be away, or turned away, within one visit to a channel",
        minimum=0,
        maximum=86400,
    )


@dataclass(frozen=True)
class StrangerSettings:
    """Unknown people who are recognised when they come again. What is stored: docs/privacy.md."""

    enabled: bool = setting(
        True,
        "give unknown people numbers (stranger-7); for this, their faces and the embeddings of all visits are kept",
        flag="--strangers",
    )
    folder: Optional[Path] = setting(
        None, "where they are kept; by default in .strangers in the folder of the gallery", metavar="DIR"
    )
    min_looks: int = setting(2, "comparisons of a clearly seen unknown face that a number needs", minimum=1, maximum=50)
    similarity: Optional[float] = setting(
        None,
        "minimum cosine similarity with a stranger seen before; by default 0.12 above that for a name",
        minimum=0,
        maximum=1,
    )
    keep_days: float = setting(
        30.0, "days after which a visit, and a stranger who was not seen again, is deleted", minimum=0.01, maximum=3650
    )
    frames: bool = setting(
        True,
        "keep the frame of each picture of a stranger as well, small and with all other faces blurred",
        flag="--stranger-frames",
    )
    max_count: int = setting(
        500, "maximum number of strangers; those seen only once, the longest ago, are deleted first", minimum=1
    )


@dataclass(frozen=True)
class OutputSettings:
    """Where the answer goes."""

    save: Optional[Path] = setting(
        None,
        "write the annotated video; with several channels one file each, OUT-CHANNEL.mp4; {date} and {time} in the "
        "name are replaced",
        flag="--save",
        metavar="OUT.mp4",
    )
    overwrite: bool = setting(False, "replace videos that exist", flag="--overwrite")
    events: Optional[Path] = setting(
        None,
        "append events (who came, who left) to this log, as JSON Lines; {date} in the name changes at midnight; "
        "- is standard output",
        flag="--events",
        metavar="OUT.jsonl",
    )
    events_sync: str = setting(
        "second",
        "how soon events are on the disk if the power fails: at each event, within about a second, or never explicitly",
        choices=("event", "second", "never"),
    )
    events_max_mb: Optional[float] = setting(
        None, "megabytes after which the event log is renamed and a new file begins", minimum=0.001
    )
    events_cooldown_s: float = setting(
        0.0,
        "seconds in which a person is identified once per channel, however many visits there are; 0 = in every visit",
        minimum=0,
    )
    summary_json: Optional[Path] = setting(
        None,
        "write the summary of the run to this file as JSON; {date} and {time} in the name are replaced",
        flag="--summary-json",
        metavar="FILE",
    )
    window: Optional[bool] = setting(None, "show a window; by default if there is a display", flag="--window")
    landmarks: bool = setting(False, "draw the five landmarks (key L in the window)", flag="--landmarks")
    why: bool = setting(
        False, "show the nearest people and the reason at each face (key W in the window)", flag="--why"
    )
    cover: Optional[str] = setting(
        None,
        "hide these faces in everything that is shown or saved: strangers, all, or the name of one person",
        flag="--cover",
        metavar="WHO",
    )
    cover_style: str = setting("blur", "how a face is hidden", flag="--cover-style", choices=("blur", "pixelate"))
    cover_with: Optional[Path] = setting(
        None,
        "a picture to put over each hidden face, turned and scaled to it; best a PNG with transparency",
        flag="--cover-with",
        metavar="PICTURE",
    )
    snapshots: Path = setting(Path("snapshots"), "folder for pictures saved with key S in the window", metavar="DIR")
    visit_snapshots: Optional[Path] = setting(
        None, "folder for the best picture of the face of each visit, written when the visit ends", metavar="DIR"
    )
    visit_snapshots_days: float = setting(
        30.0, "days after which such a picture is deleted", minimum=0.01, maximum=3650
    )
    visit_snapshots_max: int = setting(
        10_000, "maximum number of such pictures; the oldest are deleted first", minimum=1
    )
    video_crf: int = setting(23, "quality of the video: 0 = lossless, 51 = worst", minimum=0, maximum=51)
    video_encoder: str = setting(
        "auto",
        "encoder of videos: the hardware's through GStreamer (nvv4l2h264enc), or software; auto uses the hardware of a "
        "Jetson that has an encoder",
        choices=("auto", "hardware", "software"),
    )
    queue_frames: int = setting(
        8, "frames that wait for a slow output before frames of live sources are skipped", minimum=1, maximum=256
    )


@dataclass(frozen=True)
class RunSettings:
    """How long a run takes, and how much it logs."""

    max_frames: Optional[int] = setting(
        None, "stop after this many frames, all channels together", flag="--max-frames", metavar="N", minimum=1
    )
    duration_s: Optional[float] = setting(
        None, "stop after this many seconds", flag="--duration", metavar="S", minimum=0.001
    )
    queue_max_mb: float = setting(
        256.0,
        "megabytes of frames that wait in all queues together; each queue keeps at least one frame, however large",
        minimum=1,
    )
    end_if_stuck_s: float = setting(
        120.0,
        "seconds without a sign of life of the loop after which the program ends with exit code 3; 0 = never",
        minimum=0,
        maximum=3600,
    )
    log_level: str = setting(
        "info", "minimum level of log messages", flag="--log-level", choices=("debug", "info", "warning", "error")
    )


@dataclass(frozen=True)
class Settings:
    """The whole tree. `sources` are pairs of a channel's name and its address (grammar: `app/capture/uri.py`)."""

    sources: Tuple[Tuple[Optional[str], str], ...] = ()
    channels: Tuple[Tuple[str, ChannelValues], ...] = ()
    """Values that single channels have of their own; `for_channel` applies them."""
    capture: CaptureSettings = CaptureSettings()
    view: ViewSettings = ViewSettings()
    models: ModelSettings = ModelSettings()
    remote: RemoteSettings = RemoteSettings()
    detection: DetectionSettings = DetectionSettings()
    attention: AttentionSettings = AttentionSettings()
    gallery: GallerySettings = GallerySettings()
    quality: QualitySettings = QualitySettings()
    recognition: RecognitionSettings = RecognitionSettings()
    attributes: AttributeSettings = AttributeSettings()
    tracking: TrackingSettings = TrackingSettings()
    strangers: StrangerSettings = StrangerSettings()
    output: OutputSettings = OutputSettings()
    record: RecordSettings = RecordSettings()
    delivery: DeliverySettings = DeliverySettings()
    webhook: WebhookSettings = WebhookSettings()
    mqtt: MqttSettings = MqttSettings()
    kafka: KafkaSettings = KafkaSettings()
    nats: NatsSettings = NatsSettings()
    on_event: OnEventSettings = OnEventSettings()
    fleet: FleetSettings = FleetSettings()
    frigate: FrigateSettings = FrigateSettings()
    degrade: DegradeSettings = DegradeSettings()
    monitoring: MonitoringSettings = MonitoringSettings()
    serve: ServeSettings = ServeSettings()
    run: RunSettings = RunSettings()

    def for_channel(self, name: str) -> Settings:
        """The settings with the values that this channel has of its own; the same object if it has none."""
        settings = self
        for key, value in dict(self.channels).get(name, ()):
            section, _, field = key.partition(".")
            settings = replace(settings, **{section: replace(getattr(settings, section), **{field: value})})
        return settings


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
