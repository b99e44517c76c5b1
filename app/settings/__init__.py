"""Every setting, declared once (`schema.py`, with `declaration.py`), and how values are read (`reader.py`)."""

from app.settings.attention import AttentionSettings
from app.settings.capture import CaptureSettings
from app.settings.declaration import SettingInfo
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
from app.settings.quality import QualityLimits, QualitySettings
from app.settings.recognition import RecognitionSettings
from app.settings.recording import RecordSettings
from app.settings.remote import RemoteSettings
from app.settings.schema import (
    AttributeSettings,
    DetectionSettings,
    GallerySettings,
    ModelSettings,
    OutputSettings,
    RunSettings,
    Settings,
    StrangerSettings,
    TrackingSettings,
    all_settings,
    sections,
)
from app.settings.view import Polygon, ViewSettings, polygons

__all__ = [
    "AttentionSettings",
    "AttributeSettings",
    "CaptureSettings",
    "DegradeSettings",
    "DeliverySettings",
    "DetectionSettings",
    "FleetSettings",
    "FrigateSettings",
    "GallerySettings",
    "KafkaSettings",
    "ModelSettings",
    "MonitoringSettings",
    "MqttSettings",
    "NatsSettings",
    "OnEventSettings",
    "OutputSettings",
    "Polygon",
    "QualityLimits",
    "QualitySettings",
    "RecognitionSettings",
    "RecordSettings",
    "RemoteSettings",
    "RunSettings",
    "SettingInfo",
    "Settings",
    "StrangerSettings",
    "TrackingSettings",
    "ViewSettings",
    "WebhookSettings",
    "all_settings",
    "polygons",
    "sections",
]
