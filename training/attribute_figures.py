"""Figures of the built-in networks for gender, age and masks on people who were not learned, with 95 % intervals.

    python -m training.attribute_figures gender_age --data DIR --work WORK --model engines/genderage_utk.onnx
    python -m training.attribute_figures mask       --data DIR --work WORK --model engines/mask_drawn.onnx

Gender and age: UTKFace's test side (training/portraits.py), the pictures as they are, aligned and read by the program.
Masks: drawn onto the same portraits and onto LFW's development people, with another seed than in training; and, with
--fabrics, photographs of flat surgical masks laid over these faces (mask_*.jpg in PyPI's wheel insightface).
"""

from __future__ import annotations

import argparse
import logging
from pathlib import Path
from typing import Dict, List, Optional, Sequence, Tuple

import cv2
import numpy as np

from app.inference.onnx import OnnxEngine
from app.intervals import NORMAL_95, Share
from app.types import Faces, Gender
from app.vision.attribute_models import MIN_MASK_PROBABILITY, GenderAgeModel, MaskModel
from app.vision.preprocessing import FaceInput, Preprocessing
from training.augment import middle_crops
from training.crops import load_crops
from training.drawn_masks import DRAWINGS, WORN, FaceAxes, Piece, lay_over
from training.labels import load_table
from training.mask import Drawer, FaceSource, face_source
from training.portraits import GROUPS, SOURCE, Portraits, load_portraits

AGE_BANDS = ((0, 2), (3, 9), (10, 19), (20, 29), (30, 39), (40, 49), (50, 59), (60, 69), (70, 116))
ADULT = 18
TRIAL_SEED, TRIALS, FABRIC_TRIALS = 1001, 4000, 800
INPUT = FaceInput(Preprocessing("rgb", (0, 0, 0), 1), (112, 112))
"""What the catalogue says of both networks."""


def predict_portraits(data: Path, work: Path, model: GenderAgeModel, portraits: Portraits) -> Tuple[np.ndarray, ...]:
    """Whether each portrait is predicted as a man, and its age in years."""
    _, index = load_crops(work, SOURCE)
    table = load_table(work, SOURCE)
    men, ages = [], []
    for picture in index[portraits.rows]:
        found = table.faces(int(picture))
        row = table.main_face(int(picture))
        faces = Faces(found.boxes[[row]], found.scores[[row]], found.landmarks[[row]])
        ((gender, _, age),) = model.predict(cv2.imread(str(data / str(table.paths[picture]))), faces)
        men.append(gender is Gender.MALE)
        ages.append(age)
    return np.array(men), np.array(ages)


def mean_with_interval(values: np.ndarray) -> str:
    half = NORMAL_95 * values.std(ddof=1) / np.sqrt(len(values))
    return f"{values.mean():.1f} [{values.mean() - half:.1f}, {values.mean() + half:.1f}]"


def share(hits: np.ndarray) -> str:
    counted = Share(int(hits.sum()), len(hits))
    low, high = counted.interval
    return f"{100 * counted.value:.1f} % [{100 * low:.1f}, {100 * high:.1f}]"


def gender_age_table(portraits: Portraits, men: np.ndarray, ages: np.ndarray) -> List[Sequence[str]]:
    errors = ages - portraits.ages
    right = men == (portraits.genders == 0)
    everyone = np.ones(len(portraits), bool)
    rows: Dict[str, np.ndarray] = {"everyone": everyone, f"{ADULT} years and older": portraits.ages >= ADULT}
    for low, high in AGE_BANDS:
        rows[f"{low} to {high} years"] = (portraits.ages >= low) & (portraits.ages <= high)
    for number, group in enumerate(GROUPS):
        rows[f'labelled "{group}"'] = portraits.groups == number
    rows['labelled "male"'], rows['labelled "female"'] = portraits.genders == 0, portraits.genders == 1
    for number, group in enumerate(GROUPS):
        for gender, name in enumerate(("male", "female")):
            grown = (portraits.ages >= ADULT) & (portraits.genders == gender)
            rows[f'{ADULT} years and older, "{group}", "{name}"'] = grown & (portraits.groups == number)
    table: List[Sequence[str]] = [
        ("", "portraits", "gender right", "age error, years", "off by 10 years or more", "too old (+) or young")
    ]
    for name, chosen in rows.items():
        off = np.abs(errors[chosen])
        figures = (share(right[chosen]), mean_with_interval(off), share(off >= 10), f"{errors[chosen].mean():+.1f}")
        table.append((name, str(int(chosen.sum())), *figures))
    return table


def lay_fabric(
    image: np.ndarray, axes: FaceAxes, rng: np.random.Generator, fabric: np.ndarray, top: float
) -> np.ndarray:
    """A flat mask bent around the face, from v = `top` down to the chin, with hanging sides."""
    u, v = axes.grid(len(image))
    bottom, droop, lift = rng.uniform(1.4, 1.7), rng.uniform(0.05, 0.25), rng.uniform(0.1, 0.4)
    around = u / np.where(u > 0, axes.half_width(1), axes.half_width(-1))
    high, low = top + droop * around**2, bottom - lift * around**2
    across = (np.arcsin(np.clip(around, -1, 1)) / np.pi + 0.5) * (fabric.shape[1] - 1)
    down = (v - high) / np.maximum(low - high, 1e-3) * (fabric.shape[0] - 1)
    shown = cv2.remap(fabric, across.astype(np.float32), down.astype(np.float32), cv2.INTER_AREA)
    turns = np.linspace(-1, 1, 15)
    reach = np.where(turns > 0, axes.half_width(1), axes.half_width(-1)) * turns
    edges = [*zip(reach, top + droop * turns**2), *zip(reach[::-1], bottom - lift * turns[::-1] ** 2)]
    return lay_over(image, Piece(axes.pixels(edges), shown.astype(np.float64)), rng)


def fabric_rows(sources: List[FaceSource], model: MaskModel, folder: Path) -> List[Sequence[str]]:
    fabrics = [cv2.imread(str(path)) for path in sorted(folder.glob("mask_*.jpg"))]
    table: List[Sequence[str]] = []
    for name, tops in (("worn", (0.15, 0.4)), ("below nose", (0.7, 0.85))):
        crops = []
        for number in range(FABRIC_TRIALS):
            rng = np.random.default_rng([TRIAL_SEED, number])
            source = sources[number % len(sources)]
            row = int(rng.choice(source.rows))
            axes, fabric = FaceAxes(source.landmarks[row]), fabrics[number // len(sources) % len(fabrics)]
            crops.append(lay_fabric(source.crops[row], axes, rng, fabric, rng.uniform(*tops)))
        worn = worn_by(model, middle_crops(np.stack(crops)))
        table.append((f"photographed fabric, {name}", str(len(worn)), share(worn)))
    return table


def worn_by(model: MaskModel, crops: np.ndarray) -> np.ndarray:
    """Whose mask counts as worn: from MIN_MASK_PROBABILITY on, as in the program."""
    values = [model.answers(crops[start : start + 64])[:, 0] for start in range(0, len(crops), 64)]
    return np.concatenate(values) >= MIN_MASK_PROBABILITY


def mask_table(work: Path, model: MaskModel, fabrics: Optional[Path]) -> List[Sequence[str]]:
    """The share that is called a mask, for each drawing, and of the faces as they are."""
    sources = [face_source(work, "faces_lfw_dev", ""), face_source(work, SOURCE, "test")]
    drawer = Drawer(sources, TRIAL_SEED, TRIALS, strength=0.0)
    worn = worn_by(model, np.stack([drawer.draw(number) for number in range(TRIALS)]))
    table: List[Sequence[str]] = [("drawn", "faces", "called a mask")]
    for kind, (drawing, _) in enumerate(DRAWINGS):
        chosen = drawer.kinds == kind
        table.append((drawing.__name__.replace("_", " "), str(int(chosen.sum())), share(worn[chosen])))
    others = drawer.kinds != WORN
    table.append(("all but worn", str(int(others.sum())), share(worn[others])))
    plain = np.concatenate([worn_by(model, middle_crops(source.crops[source.rows])) for source in sources])
    table.append(("every face as it is", str(len(plain)), share(plain)))
    return table + (fabric_rows(sources, model, fabrics) if fabrics else [])


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m training.attribute_figures",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("network", choices=("gender_age", "mask"))
    parser.add_argument("--data", type=Path, required=True, help="folder with the pictures")
    parser.add_argument("--work", type=Path, required=True, help="folder in which training.portraits has written")
    parser.add_argument("--model", type=Path, required=True, help="the ONNX file")
    parser.add_argument("--fabrics", type=Path, help="mask: folder with photographs of flat masks, mask_*.jpg")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    engine = OnnxEngine(arguments.model, threads=1)
    if arguments.network == "mask":
        table = mask_table(arguments.work, MaskModel(engine, INPUT), arguments.fabrics)
    else:
        portraits = load_portraits(arguments.work).on("test")
        answers = predict_portraits(arguments.data, arguments.work, GenderAgeModel(engine, INPUT), portraits)
        table = gender_age_table(portraits, *answers)
    for number, row in enumerate(table):
        print("| " + " | ".join(row) + " |")
        if number == 0:
            print("|---" * len(row) + "|")


if __name__ == "__main__":
    main()
