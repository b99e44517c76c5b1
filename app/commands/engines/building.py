"""`engines build`: builds TensorRT engines."""

from __future__ import annotations

import argparse
import re
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, List, Tuple

from app.commands.arguments import expected, picture_size, whole_number
from app.commands.logs import configure_logging
from app.commands.options import add_settings_options, effective_settings
from app.errors import SettingsError, check_all
from app.settings import Settings

if TYPE_CHECKING:
    from app.models.entry import ModelEntry
    from app.models.loading import ModelLoader

DESCRIPTION = """Builds TensorRT engines from the models' ONNX files. Run it on the device that will use them: an engine
works only with the TensorRT version and the GPU model that built it. Building takes minutes, once. Without MODEL it
builds the detector and the embedder in use. Engines that are still valid are kept."""

EXAMPLES = """The program builds missing engines when it starts. Use this command to build them earlier or with options.

examples:
  python -m app engines build                                  # detector and embedder, in fp16 if that is faster
  python -m app engines build retinaface_mnet025 --size 640x480  # one fixed size: the fastest for one camera
  python -m app engines build mobilefacenet --batch 1,8,32     # for crowds: up to 32 faces, optimised for 8
  python -m app engines build --precision int8 --calibration photos/
  python -m app engines build --precision fp16 --dla 0         # on a deep learning accelerator (Xavier, Orin NX, AGX)
  python -m app engines build --force                          # build again even if the engines are valid

int8 is calibrated with pictures: those of --calibration, otherwise the gallery's. Five or more are needed; some hundred
that resemble later use are better. The calibration is stored and reused; --calibration repeats it. To see its effect:
  python -m app engines compare MODEL --b trt --precision int8 --images photos/"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("models", metavar="MODEL", nargs="*", help="models of the catalogue (default: those in use)")
    parser.add_argument(
        "--batch",
        type=_batch,
        metavar="N|MIN,BEST,MAX",
        help="batch size: up to N, or from MIN to MAX and optimised for BEST (default: 1 frame, 16 faces)",
    )
    parser.add_argument(
        "--size",
        type=picture_size(64, multiple=32),
        metavar="WxH",
        help="fixed input size of a detector, such as 640x480 (default: any up to detection.input_size)",
    )
    parser.add_argument(
        "--workspace",
        type=whole_number(1, 65536),
        metavar="MB",
        help="temporary memory per layer (default: a sixteenth of the GPU's memory, 256 to 2048, and "
        "at most a quarter of the free memory where the GPU shares it)",
    )
    parser.add_argument(
        "--dla",
        type=whole_number(0, 7),
        metavar="N",
        help="build for this deep learning accelerator, with fixed sizes",
    )
    parser.add_argument(
        "--calibration",
        metavar="DIR",
        type=Path,
        help="pictures to calibrate int8 with, again if necessary (default: the gallery's)",
    )
    parser.add_argument("--force", action="store_true", help="rebuild even if a valid engine exists")
    add_settings_options(parser, sections=("models.detector", "models.embedder", "models.precision", "gallery.folder"))


def execute(arguments: argparse.Namespace) -> int:
    from app.models.engines import BuildOptions, build_for
    from app.models.loading import leave_cores_to_networks

    settings = effective_settings(arguments).settings
    loader, entries = _entries(arguments, settings)
    progress = configure_logging("warning")
    leave_cores_to_networks()
    for entry in entries:
        options = BuildOptions(
            batch=arguments.batch,
            size=arguments.size if entry.task == "detection" else None,
            workspace_mb=arguments.workspace,
            dla=arguments.dla,
            force=arguments.force or arguments.calibration is not None,
            recalibrate=arguments.calibration is not None,
        )
        try:
            built = build_for(loader, entry, options, progress.status)
        except KeyboardInterrupt:
            raise KeyboardInterrupt(f"{entry.name}: no incomplete engine was left behind") from None
        finally:
            progress.clear()
        print(f"{entry.name}: {built.path.parent / built.remark}", flush=True)
    return 0


def _entries(arguments: argparse.Namespace, settings: Settings) -> Tuple[ModelLoader, List[ModelEntry]]:
    """The models to build engines of. All errors in the command are reported before the GPU is used."""
    from app.models.engines import precisions_to_try, require_buildable
    from app.models.int8 import find_photos
    from app.models.loading import ModelLoader

    loader = ModelLoader(settings)
    catalog = loader.catalog
    names = list(dict.fromkeys(arguments.models or [settings.models.detector, settings.models.embedder]))

    def check_options() -> None:
        if arguments.calibration and settings.models.precision != "int8":
            raise SettingsError("--calibration is for int8 only: add --precision int8, or remove it")
        if arguments.calibration:
            find_photos(arguments.calibration)

    def check_size() -> None:
        entries = [catalog.entries.get(name) for name in names]
        if arguments.size and all(entry is not None and entry.task != "detection" for entry in entries):
            raise SettingsError("--size is for detectors only, and none of these models is a detector")

    check_all(
        partial(precisions_to_try, settings.models.precision),
        check_options,
        check_size,
        *(partial(require_buildable, catalog, name) for name in names),
    )
    return ModelLoader(settings, arguments.calibration), [catalog.require(name) for name in names]


def _batch(text: str) -> Tuple[int, int, int]:
    numbers = re.fullmatch(r"(\d{1,3})(?:,(\d{1,3}),(\d{1,3}))?", text)
    if numbers is not None:
        first = int(numbers[1])
        low, best, high = (first, int(numbers[2]), int(numbers[3])) if numbers[2] else (1, max(1, first // 4), first)
        if 1 <= low <= best <= high <= 256:
            return low, best, high
    raise expected(text, "a number from 1 to 256, or three increasing ones, such as 1,8,16")
