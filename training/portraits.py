"""UTKFace's labels, from its file names, and which of its portraits are held out.

The set does not say who is who. A hash of the file name says which portraits are held out. Others that look like one of
these (cosine of the built-in embedder above `SAME_PERSON`), or were collected in the same millisecond, are left out of
training, so that a network is not examined on people that it has learned. Joining look-alikes into groups instead
would put thousands of strangers into one, through chains of similar faces.

    python -m training.portraits --work WORK --embedder engines/mobilefacenet.onnx
"""

from __future__ import annotations

import argparse
import hashlib
import logging
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Optional, Sequence, Tuple

import numpy as np
import onnxruntime as ort

from training.augment import middle_crops, network_input
from training.crops import load_crops
from training.files import replace_atomically
from training.labels import load_table

log = logging.getLogger(__name__)

SOURCE = "faces_utk"
SAME_PERSON = 0.6
SIDES = ("train", "development", "test", "left out")
"""Development portraits may be looked at as often as one likes; test portraits make the figures of the card."""
SHARES = (0.8, 0.1, 0.1)
GROUPS = ("White", "Black", "Asian", "Indian", "other")
"""The set's own labels, in the order of its numbers."""
NAME = re.compile(r"(?P<age>\d{1,3})_(?P<gender>[01])_(?P<group>[0-4])_(?P<stamp>\d+)")
BATCH = 64


@dataclass(frozen=True)
class Portraits:
    """The portraits whose names are complete, one value a portrait."""

    rows: np.ndarray
    """Of the crops."""
    ages: np.ndarray
    genders: np.ndarray
    """0: male, 1: female, as in the file names."""
    groups: np.ndarray
    sides: np.ndarray
    """Indices of SIDES."""

    def __len__(self) -> int:
        return len(self.rows)

    def on(self, side: str) -> Portraits:
        chosen = self.sides == SIDES.index(side)
        return Portraits(*(values[chosen] for values in vars(self).values()))


def read_name(path: str) -> Optional[Tuple[int, int, int, str]]:
    """Age, gender, group and date stamp; None for a name that lacks one."""
    match = NAME.match(Path(path).name)
    return match and (int(match["age"]), int(match["gender"]), int(match["group"]), match["stamp"])


def side_of(name: str) -> int:
    """The same for the same name on every machine."""
    share = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big") / 2**64
    return int(np.searchsorted(np.cumsum(SHARES)[:-1], share, side="right"))


def near_duplicates(embeddings: np.ndarray, stamps: Sequence[str], held_out: np.ndarray) -> np.ndarray:
    """Which rows look like one that is held out, or have its stamp."""
    found = np.zeros(len(embeddings), bool)
    for start in range(0, len(embeddings), 1024):
        rows = slice(start, start + 1024)
        found[rows] = (embeddings[rows] @ embeddings[held_out].T).max(axis=1) > SAME_PERSON
    return found | np.isin(stamps, np.asarray(stamps)[held_out])


def choose_sides(names: Sequence[str], embeddings: np.ndarray, stamps: Sequence[str]) -> np.ndarray:
    """The side of each portrait. Development portraits that look like a test portrait are left out as well."""
    sides = np.array([side_of(name) for name in names])
    test = sides == SIDES.index("test")
    sides[near_duplicates(embeddings, stamps, test) & ~test] = SIDES.index("left out")
    development = sides == SIDES.index("development")
    alike = near_duplicates(embeddings, stamps, development)
    sides[alike & (sides == SIDES.index("train"))] = SIDES.index("left out")
    return sides


def embed_all(crops: np.ndarray, embedder: Path) -> np.ndarray:
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    session = ort.InferenceSession(str(embedder), options, providers=["CPUExecutionProvider"])
    found = [
        session.run(None, {"input": network_input(middle_crops(crops[start : start + BATCH]))})[0]
        for start in range(0, len(crops), BATCH)
    ]
    embeddings = np.concatenate(found)
    return np.asarray(embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True))


def portraits_path(work: Path) -> Path:
    return work / "portraits.npz"


def load_portraits(work: Path) -> Portraits:
    with np.load(portraits_path(work)) as stored:
        return Portraits(**{name: stored[name] for name in stored.files})


def describe_portraits(work: Path, embedder: Path) -> Portraits:
    crops, index = load_crops(work, SOURCE)
    table = load_table(work, SOURCE)
    labels = {row: read_name(str(table.paths[picture])) for row, picture in enumerate(index)}
    complete = [(row, label) for row, label in labels.items() if label]
    rows = np.array([row for row, _ in complete])
    ages, genders, groups = np.array([label[:3] for _, label in complete]).T
    stamps = [label[3] for _, label in complete]
    names = [Path(str(table.paths[index[row]])).name for row in rows]
    return Portraits(rows, ages, genders, groups, choose_sides(names, embed_all(crops, embedder)[rows], stamps))


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m training.portraits", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--work", type=Path, required=True, help="folder in which training.crops has written")
    parser.add_argument("--embedder", type=Path, required=True, help="ONNX file that tells people apart")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    portraits = describe_portraits(arguments.work, arguments.embedder)
    with replace_atomically(portraits_path(arguments.work)) as stream:
        np.savez_compressed(stream, **vars(portraits))
    log.info(", ".join(f"{side}: {len(portraits.on(side))}" for side in SIDES))


if __name__ == "__main__":
    main()
