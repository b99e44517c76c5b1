"""A tiny training set: labelled drawings of heads."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, Callable, Dict, List, Tuple

import cv2
import numpy as np
import pytest

POINTS = np.array([[0.3, 0.4], [0.7, 0.4], [0.5, 0.6], [0.35, 0.8], [0.65, 0.8]])
"""Eyes, nose and corners of the mouth, relative to the box of the face."""


@pytest.fixture(autouse=True)
def same_numbers_every_time() -> None:
    """Random numbers are the same in every run and in any order of the tests."""
    if "torch" in sys.modules:  # imported by the tests that need it
        sys.modules["torch"].manual_seed(1)


def drawn_head(side: int, seed: int) -> Tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A picture with one drawn face: image, box, landmarks."""
    rng = np.random.default_rng(seed)
    image = rng.integers(0, 120, (side, side, 3)).astype(np.uint8)
    box = np.array([0.25, 0.2, 0.75, 0.8]) * side
    landmarks = box[:2] + POINTS * (box[2:] - box[:2])
    middle = tuple(int(v) for v in (box[:2] + box[2:]) / 2)
    cv2.ellipse(image, middle, (side // 4, int(side * 0.3)), 0, 0, 360, (150, 170, 220), -1)
    for x, y in landmarks:
        cv2.circle(image, (int(x), int(y)), max(side // 40, 1), (40, 30, 30), -1)
    return image, box, landmarks


def write_source(data: Path, work: Path, source: str, names: Dict[str, bool], side: int) -> None:
    """Pictures of one source and their table of labels; `names` says which of them show a face."""
    paths: List[str] = []
    boxes: List[np.ndarray] = []
    landmarks: List[np.ndarray] = []
    first = [0]
    for seed, (name, has_face) in enumerate(names.items()):
        image, box, points = drawn_head(side, seed)
        if has_face:
            boxes.append(box)
            landmarks.append(points)
        else:
            image[:] = seed * 20
        first.append(len(boxes))
        paths.append(f"{source}/{name}.jpg")
        (data / source).mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(data / paths[-1]), image)
    target = work / "labels" / f"{source}.npz"
    target.parent.mkdir(parents=True, exist_ok=True)
    np.savez(
        target,
        paths=np.array(paths),
        sizes=np.full((len(paths), 2), side, np.int32),
        first=np.array(first),
        boxes=np.array(boxes, np.float32).reshape(-1, 4),
        scores=np.full(len(boxes), 0.99, np.float32),
        landmarks=np.array(landmarks, np.float32).reshape(-1, 5, 2),
    )


@pytest.fixture(scope="session")
def tiny_set(tmp_path_factory: pytest.TempPathFactory) -> Tuple[Path, Path]:
    """Folders for `--data` and `--work`: pictures with labels, and aligned crops."""
    data, work = tmp_path_factory.mktemp("data"), tmp_path_factory.mktemp("work")
    for source in ("faces_utk", "faces_lfw_train", "faces_lfw_dev"):
        write_source(data, work, source, {f"face{number}": True for number in range(4)}, 120)
        crops = np.stack([cv2.resize(drawn_head(120, seed)[0], (144, 144)) for seed in range(4)])
        (work / "crops").mkdir(exist_ok=True)
        np.save(work / "crops" / f"{source}.npy", crops)
        np.save(work / "crops" / f"{source}_index.npy", np.arange(4, dtype=np.int32))
    scenes = {"0058_people": True, "0003_empty": False, "0060_people_held_out": True, "0002_empty_held_out": False}
    write_source(data, work, "scenes", scenes, 200)
    write_source(data, work, "scenes_doubled", scenes, 400)
    write_source(data, work, "crowds", {"one": True, "3_Riot_Riot_3_393": True}, 200)
    return data, work


def small_detector_training(data: Path, work: Path) -> Any:
    import torch

    from training import detector
    from training.networks import retinaface
    from training.phases import Phase
    from training.scenes import PictureShelf

    recipe = detector.DetectorRecipe(
        steps=4,
        sides=(64, 96),
        pixels_per_batch=2 * 96 * 96,
        warmup_steps=2,
        sectioned=(Phase(1, 1e-3, joined=2),),
        settle_step=2,
    )
    teacher = retinaface.RetinaFace()
    retinaface.initialise(teacher, 9)
    teacher.eval().requires_grad_(False)
    return detector.detector_training(recipe, PictureShelf(data, work), teacher, torch.device("cpu"))


def small_embedder_training(data: Path, work: Path) -> Any:
    import torch

    from training import embedder
    from training.crops import load_crops
    from training.networks import mobilefacenet
    from training.phases import Phase

    recipe = embedder.EmbedderRecipe(
        steps=4,
        batch=4,
        warmup_steps=2,
        sectioned=(Phase(1, 1e-3, joined=2, share_of_batch=0.5),),
        settle_step=2,
        settle_batches=2,
        plain_share=0.3,
    )
    teacher = mobilefacenet.MobileFaceNet()
    mobilefacenet.initialise(teacher, 9)
    teacher.eval().requires_grad_(False)
    crops = [load_crops(work, source)[0] for source, _ in embedder.SOURCES]
    return embedder.embedder_training(recipe, crops, teacher, "prelu", torch.device("cpu"))


@pytest.fixture(params=[small_detector_training, small_embedder_training], ids=["detector", "embedder"])
def new_training(request: pytest.FixtureRequest, tiny_set: Tuple[Path, Path]) -> Callable[[], Any]:
    """Creates trainings of four steps; the second step joins the blocks, the third settles."""
    import torch

    torch.set_num_threads(1)
    return lambda: request.param(*tiny_set)
