"""All checks in their order. What one of them runs into does not keep the others from being made.

Each check's module is loaded when its turn comes: a package that is missing is a finding, not the end.
"""

from __future__ import annotations

import importlib
from typing import Any, Iterator, Optional, Tuple

from app.capture.gstreamer import l4t_release
from app.errors import AppError
from app.settings import Settings
from app.tools.doctor.findings import Section, problem

SURVIVABLE = (
    AppError,
    ArithmeticError,
    AttributeError,
    EOFError,
    ImportError,
    LookupError,
    MemoryError,
    OSError,
    RuntimeError,
    SyntaxError,
    TypeError,
    ValueError,
)
"""What a check can run into on a machine that nobody has seen yet."""


def examine(settings: Settings, settings_error: Optional[str], origin: str) -> Iterator[Section]:
    """The sections one after another, as they are found."""
    jetson = l4t_release() is not None
    engines = settings.models.catalog.parent
    checks: Tuple[Tuple[str, str, Tuple[Any, ...]], ...] = (
        ("Settings", "program.check_settings", (settings_error, origin)),
        ("Python", "packages.check_python", ()),
        ("Packages", "packages.check_packages", (jetson,)),
        ("Board", "hardware.check_board", ()),
        ("GPU", "hardware.check_gpu", (jetson,)),
        ("Power and clocks", "hardware.check_power", (jetson,)),
        ("Memory and disk", "hardware.check_memory_and_disk", (jetson, engines)),
        ("Networks", "program.check_networks", (settings,)),
        ("Engines", "program.check_engines", (settings,)),
        ("Gallery", "program.check_gallery", (settings.gallery.folder,)),
        ("Display", "program.check_display", ()),
        ("Cameras", "hardware.check_cameras", ()),
    )
    for title, place, arguments in checks:
        module, _, function = place.partition(".")
        try:
            findings = getattr(importlib.import_module(f"app.tools.doctor.{module}"), function)(*arguments)
        except SURVIVABLE as error:
            findings = [problem(f"this could not be checked: {type(error).__name__}: {error}")]
        yield Section(title, tuple(findings))
