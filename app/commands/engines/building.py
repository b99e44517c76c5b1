"""`engines build`: engines for TensorRT, made on the device that runs them."""

from __future__ import annotations

import argparse
import re
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, List, Optional, Tuple

from app.commands.arguments import expected, picture_size, whole_number
from app.commands.logs import configure_logging
from app.commands.options import add_settings_options, effective_settings
from app.errors import SettingsError, check_all
from app.settings import Settings

if TYPE_CHECKING:
    from app.models.engine_building import BuildOptions
    from app.models.entry import ModelEntry
    from app.models.loading import ModelLoader

DESCRIPTION = """Builds engines for TensorRT out of the models' ONNX files, on the device that will run them: an engine
works only with the TensorRT and the kind of GPU that built it. It takes minutes, once. Without MODEL it builds the
detector and the embedder in use. What is there and still fits is left alone."""

EXAMPLES = """The program builds by itself what is missing; this command does it beforehand, or otherwise.

examples:
  python -m app engines build                                  # detector and embedder, in fp16 where that pays
  python -m app engines build retinaface_mnet025 --size 640x480  # fixed to one size: the fastest for one camera
  python -m app engines build mobilefacenet --batch 1,8,32     # for crowds: tuned for 8 faces, up to 32 at once
  python -m app engines build --precision int8 --calibration photos/
  python -m app engines build --precision fp16 --dla 0         # on a deep learning accelerator (Xavier, Orin NX, AGX)
  python -m app engines build --force                          # again, whatever is there

int8 is learnt from pictures: those of --calibration, else those of the gallery; at least 5, better some hundred, like
those of later use. Once learnt it is kept, and later builds need none; --calibration learns it anew. See what it costs:
  python -m app engines compare MODEL --b trt --precision int8 --images photos/"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("models", metavar="MODEL", nargs="*", help="models of the catalogue (default: those in use)")
    parser.add_argument(
        "--batch",
        type=_batch,
        metavar="N|LEAST,BEST,MOST",
        help="how many at once: at most N, or from LEAST to MOST and tuned for BEST (default: 1 frame, 16 faces)",
    )
    parser.add_argument(
        "--size",
        type=picture_size(64, multiple=32),
        metavar="WxH",
        help="fix a detector to one size such as 640x480 (default: any up to detection.input_size)",
    )
    parser.add_argument(
        "--workspace",
        type=whole_number(1, 65536),
        metavar="MB",
        help="memory that one layer may use while it computes (default: a sixteenth of the GPU's, 256 to 2048)",
    )
    parser.add_argument(
        "--dla", type=whole_number(0, 7), metavar="N", help="for this deep learning accelerator, with fixed sizes"
    )
    parser.add_argument(
        "--calibration",
        metavar="DIR",
        type=Path,
        help="pictures for int8 (default: the gallery's); with it int8 is learnt and built anew, whatever is there",
    )
    parser.add_argument("--force", action="store_true", help="build also what is there and fits")
    add_settings_options(parser, sections=("models.detector", "models.embedder", "models.precision", "gallery.folder"))


def execute(arguments: argparse.Namespace) -> int:
    from app.models.engine_building import build_for
    from app.models.loading import leave_cores_to_networks

    settings = effective_settings(arguments).settings
    loader, entries = _entries(arguments, settings)
    progress = configure_logging("warning")
    leave_cores_to_networks()
    for entry in entries:
        try:
            options = _options(arguments, entry)
            built = build_for(loader, entry, options, progress.status)
        except KeyboardInterrupt:
            raise KeyboardInterrupt(f"{entry.name}: no half engine was left behind") from None
        finally:
            progress.clear()
        print(f"{entry.name}: {built.path.parent / built.remark}", flush=True)
    return 0


def _entries(arguments: argparse.Namespace, settings: Settings) -> Tuple[ModelLoader, List[ModelEntry]]:
    """The models to build engines of. Whatever is wrong with what was asked for is told before a GPU is looked for."""
    from app.models.engine_building import precisions_to_try, require_buildable
    from app.models.int8 import find_photos
    from app.models.loading import ModelLoader

    loader = ModelLoader(settings)
    catalog = loader.catalog
    names = list(dict.fromkeys(arguments.models or [settings.models.detector, settings.models.embedder]))
    check_all(
        partial(precisions_to_try, settings.models.precision),
        partial(_require_int8_for, arguments.calibration, settings),
        *([partial(find_photos, arguments.calibration)] if arguments.calibration else []),
        partial(_require_detector_for, arguments.size, [catalog.entries.get(name) for name in names]),
        *(partial(require_buildable, catalog, name) for name in names),
    )
    return ModelLoader(settings, arguments.calibration), [catalog.require(name) for name in names]


def _require_int8_for(calibration: Optional[Path], settings: Settings) -> None:
    if calibration is not None and settings.models.precision != "int8":
        raise SettingsError("--calibration is for int8 alone: add --precision int8, or leave it out")


def _require_detector_for(size: Optional[Tuple[int, int]], entries: List[Optional[ModelEntry]]) -> None:
    if size and all(entry is not None and entry.task != "detection" for entry in entries):
        raise SettingsError("--size is for detectors, and none of these models is one")


def _options(arguments: argparse.Namespace, entry: ModelEntry) -> BuildOptions:
    from app.models.engine_building import BuildOptions

    return BuildOptions(
        batch=arguments.batch,
        size=arguments.size if entry.task == "detection" else None,
        workspace_mb=arguments.workspace,
        dla=arguments.dla,
        force=arguments.force or arguments.calibration is not None,
        recalibrate=arguments.calibration is not None,
    )


def _batch(text: str) -> Tuple[int, int, int]:
    numbers = re.fullmatch(r"(\d{1,3})(?:,(\d{1,3}),(\d{1,3}))?", text)
    if numbers is not None:
        first = int(numbers[1])
        least, best, most = (first, int(numbers[2]), int(numbers[3])) if numbers[2] else (1, max(1, first // 4), first)
        if 1 <= least <= best <= most <= 256:
            return least, best, most
    raise expected(text, "a number from 1 to 256, or three increasing ones, such as 1,8,16")
