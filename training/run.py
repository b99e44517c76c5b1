"""A training run from the command line: options, beginning or going on, and the loop that logs, saves and measures."""

from __future__ import annotations

import argparse
import logging
import time
from pathlib import Path
from typing import Any, Callable, Dict, List, Optional, Type, TypeVar

import cv2
import numpy as np
import torch

from training.checkpoint import StopRequest
from training.imitation import Recipe, StudentTraining
from training.progress import Progress, append_to_curve

log = logging.getLogger(__name__)

LOG_EVERY = 50
Measure = Callable[[], Dict[str, float]]
Chosen = TypeVar("Chosen", bound=Recipe)


def run_parser(
    name: str, description: str, recipe: Type[Recipe], measure_every: int, has_teacher: bool = True
) -> argparse.ArgumentParser:
    """The options that every run has; their defaults are those of the recipe."""
    parser = argparse.ArgumentParser(
        prog=f"python -m training.{name}",
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(name=name)
    add = parser.add_argument
    add("--work", type=Path, required=True, help="folder with what was prepared; the run's own folder goes below it")
    add("--run", default=name, help="name of the run: its folder below --work")
    if has_teacher:
        add("--teacher", type=Path, required=True, help="the network to imitate")
    add("--steps", type=int, default=recipe.steps, help="length of the schedule, the sectioned part included")
    add("--rate", type=float, default=recipe.peak_rate, help="peak learning rate of the joined network")
    add("--hints", type=float, default=recipe.hint_weight, help="weight of the feature-map loss")
    add("--seed", type=int, default=recipe.seed)
    add("--resume", action="store_true", help="go on from the run's checkpoint if there is one")
    add("--start-from", type=Path, help="ONNX weights to begin a new schedule with (no sections then)")
    add("--measure-every", type=int, default=measure_every, metavar="STEPS", help="0: never")
    add("--save-every", type=float, default=120, metavar="SECONDS")
    add("--threads", type=int, default=2)
    add("--device", type=torch.device, default="cuda" if torch.cuda.is_available() else "cpu")
    return parser


def begin(parser: argparse.ArgumentParser) -> argparse.Namespace:
    """Reads the command line and sets up what holds for the process: the log and the threads."""
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    torch.set_num_threads(arguments.threads)
    cv2.setNumThreads(1)
    return arguments


def chosen_recipe(recipe: Type[Chosen], arguments: argparse.Namespace) -> Chosen:
    sections: Dict[str, Any] = {"sectioned": ()} if arguments.start_from else {}
    return recipe(
        steps=arguments.steps,
        seed=arguments.seed,
        peak_rate=arguments.rate,
        hint_weight=arguments.hints,
        **sections,
    )


def read_teacher(arguments: argparse.Namespace) -> Dict[str, Any]:
    stored: Dict[str, Any] = torch.load(arguments.teacher, map_location="cpu", weights_only=True)
    return stored


def carry_out(arguments: argparse.Namespace, training: StudentTraining[Any], measure: Optional[Measure]) -> None:
    """Goes on with the run or begins it, as the command line says, and trains to the end."""
    checkpoint = arguments.work / arguments.run / f"{arguments.name}.pt"
    if arguments.resume and checkpoint.exists():
        training.resume(checkpoint)
        log.info("resumed at step %d", training.step)
    elif arguments.start_from:
        training.start_from(arguments.start_from)
    train(training, checkpoint, measure, arguments.measure_every, arguments.save_every)


def train(
    training: StudentTraining[Any],
    checkpoint: Path,
    measure: Optional[Measure],
    measure_every: int,
    save_every_s: float,
) -> None:
    """Trains to the end of the schedule; saves by the clock, measures every `measure_every` steps."""
    steps = training.recipe.steps
    progress = Progress(training.step, steps, "steps")
    recent: List[Dict[str, float]] = []
    saved_at = time.monotonic()
    stop = StopRequest()
    while training.step < steps and not stop.made:
        recent.append(training.train_step())
        last = training.step == steps
        if training.step % LOG_EVERY == 0:
            log.info(progress.describe(training.step, means(recent)))
            recent = []
        if last or time.monotonic() - saved_at > save_every_s:
            training.save(checkpoint)
            saved_at = time.monotonic()
        if measure and measure_every and (last or training.step % measure_every == 0):
            figures = measure()
            log.info("figures: %s", figures)
            append_to_curve(checkpoint.with_name(f"{checkpoint.stem}_curve.jsonl"), {"steps": training.step, **figures})
    if stop.made:
        training.save(checkpoint)
        log.info("stopped on request; --resume goes on from step %d", training.step)


def means(recent: List[Dict[str, float]]) -> Dict[str, float]:
    """The mean of every part of the loss that the newest step has, over the steps that have it."""
    return {name: float(np.mean([parts[name] for parts in recent if name in parts])) for name in recent[-1]}
