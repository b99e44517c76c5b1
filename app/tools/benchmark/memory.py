"""Do pictures fit into little memory? Each is recognised in a process of its own, with a limit.

The limit is RLIMIT_DATA: the private memory that a process may ask for. RLIMIT_AS would count addresses as well that
the networks' libraries reserve and never use. A container's limit counts only memory that is used, so what fits here
usually fits there.
"""

from __future__ import annotations

import json
import os
import pickle
import re
import signal
import subprocess
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Dict, List, Optional

from app.errors import AppError
from app.files import CODE_FOLDER
from app.settings import Settings

CHILD_LIMIT_S = 180.0
MEGAPIXELS = (1, 12, 36)


@dataclass(frozen=True)
class MemoryCase:
    """One picture under one limit."""

    picture: str
    limit: int
    input_size: int
    size: str
    """Width and height, or `-` if the picture was not decoded."""
    faces: Optional[int]
    """None: it failed."""
    peak: Optional[int]
    """The most memory that was in use, shared libraries included."""
    why: str
    """The cause of a failure."""

    def as_json(self) -> Dict[str, Any]:
        return asdict(self)


def parse_bytes(text: str) -> int:
    """`512m` or `2G`, in powers of 1024, as Docker takes them."""
    found = re.fullmatch(r"([0-9]{1,6})([mMgG])", text)
    if found is None or int(found[1]) == 0:
        raise ValueError(f"{text!r}: expected a size such as 512m or 2g")
    return int(found[1]) << (20 if found[2] in "mM" else 30)


def recognise_within(settings: Settings, picture: Path, limit: int) -> MemoryCase:
    """Finds and embeds the faces of the picture in a process that may use this many bytes."""
    if sys.platform != "linux":
        raise AppError("memory can be limited on Linux only")
    size = settings.detection.input_size
    paths = [str(CODE_FOLDER), *filter(None, [os.environ.get("PYTHONPATH")])]
    try:
        done = subprocess.run(
            [sys.executable, "-c", "from app.tools.benchmark.memory import child; child()"],
            input=pickle.dumps((settings, picture, limit)),
            capture_output=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
            timeout=CHILD_LIMIT_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return MemoryCase(str(picture), limit, size, "-", None, None, f"no result after {CHILD_LIMIT_S:g} s")
    lines = done.stdout.decode().splitlines()
    shape = lines[0] if lines else "-"
    if done.returncode == 0 and len(lines) == 2:
        facts = json.loads(lines[1])
        return MemoryCase(str(picture), limit, size, shape, facts["faces"], facts["peak"], "")
    if done.returncode < 0:
        why = f"ended by {signal.Signals(-done.returncode).name}"
    else:
        said = [line for line in done.stderr.decode("utf-8", "replace").splitlines() if line.strip()]
        why = said[-1].strip() if said else f"exit code {done.returncode}"
    return MemoryCase(str(picture), limit, size, shape, None, None, why)


def child() -> None:
    """In the process with the limit: prints the picture's size, then what was found."""
    import resource

    settings, picture, limit = pickle.load(sys.stdin.buffer)
    resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
    from app.capture.pictures import read_picture
    from app.models.loading import ModelLoader, leave_cores_to_networks
    from app.recognizer import Recognizer

    leave_cores_to_networks()
    image = read_picture(picture)
    sys.stdout.write(f"{image.shape[1]}x{image.shape[0]}\n")
    sys.stdout.flush()  # a process that runs out of memory may end without
    with Recognizer.from_loader(ModelLoader(settings), with_attributes=False) as recognizer:
        (faces,) = recognizer.find([image])
        if len(faces):
            recognizer.embed_crops(recognizer.crops(image, faces))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    sys.stdout.write(json.dumps({"faces": len(faces), "peak": peak}) + "\n")


def write_pictures(folder: Path) -> List[Path]:
    """A portrait of the demo as JPEGs of 1, 12 and 36 megapixels."""
    import cv2

    from app.tools.demo.portraits import load_portraits

    image = load_portraits()[0].image
    written = []
    for megapixels in MEGAPIXELS:
        scale = (megapixels * 1e6 / (image.shape[0] * image.shape[1])) ** 0.5
        size = (int(image.shape[1] * scale), int(image.shape[0] * scale))
        path = folder / f"portrait_{megapixels}mp.jpg"
        path.write_bytes(cv2.imencode(".jpg", cv2.resize(image, size))[1].tobytes())
        written.append(path)
    return written
