"""Every setting, declared once (`schema.py`), and how values are read and checked (`reader.py`)."""

from app.settings.schema import (
    AttributeSettings as AttributeSettings,
)
from app.settings.schema import (
    CaptureSettings as CaptureSettings,
)
from app.settings.schema import (
    DetectionSettings as DetectionSettings,
)
from app.settings.schema import (
    GallerySettings as GallerySettings,
)
from app.settings.schema import (
    Leaf as Leaf,
)
from app.settings.schema import (
    ModelSettings as ModelSettings,
)
from app.settings.schema import (
    OutputSettings as OutputSettings,
)
from app.settings.schema import (
    QualityLimits as QualityLimits,
)
from app.settings.schema import (
    RecognitionSettings as RecognitionSettings,
)
from app.settings.schema import (
    RunSettings as RunSettings,
)
from app.settings.schema import (
    Settings as Settings,
)
from app.settings.schema import (
    TrackingSettings as TrackingSettings,
)
from app.settings.schema import (
    leaves as leaves,
)
from app.settings.schema import (
    sections as sections,
)
