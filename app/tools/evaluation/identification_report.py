"""`evaluate identification`: from folders of pictures to its figures, as text and as JSON."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Dict, List, Optional, Tuple

import numpy as np

from app.errors import SourceError
from app.gallery.names import person_of
from app.identity.calibration import Calibration, nearest_people
from app.intervals import Share
from app.recognizer import Recognizer
from app.text import counted, percentage, table
from app.tools.evaluation.identification import (
    FPIRS,
    Answers,
    Difference,
    EnrolledPhotos,
    Tpir,
    answers,
    differences,
    tpir,
    ways_to_compare,
)
from app.tools.evaluation.predictions import MainFaces, embed_main_faces, pictures_below
from app.types import ProgressCallback


@dataclass(frozen=True)
class FixedThreshold:
    """What happens at one threshold, with the margin, and what the calibration of this gallery says about it."""

    name: str
    threshold: float
    identified: Share
    accepted: Share
    """Strangers."""
    stated: Optional[float] = None
    """The share of strangers that the calibration expects."""
    bound: Optional[float] = None
    """Its 95 % upper bound."""


@dataclass(frozen=True)
class IdentificationFigures:
    """Everything that is measured."""

    people: int
    photos: int
    enrolled: Answers
    strangers: Answers
    without_face: int
    tpirs: List[Tpir]
    fixed: List[FixedThreshold]
    ways: Dict[float, List[Difference]]
    """By FPIR; empty unless asked for."""


def measure_identification(
    recognizer: Recognizer,
    gallery: Path,
    probes: Path,
    strangers: Optional[Path],
    compare_ways: bool,
    on_progress: ProgressCallback,
) -> IdentificationFigures:
    """Pictures are named as photos of a gallery are. Who has no photo in `gallery` is a stranger."""
    files: Dict[str, Path] = {}
    people: Dict[str, str] = {}
    folders = {"gallery": gallery, "probes": probes, **({} if strangers is None else {"strangers": strangers})}
    for role, folder in folders.items():
        for name in pictures_below(folder):
            key = f"{role}/{name}"
            files[key] = folder / name
            people[key] = person_of(PurePosixPath(name), {})
    found = embed_main_faces(files, recognizer, on_progress)
    enrolled_keys = [key for key in files if key.startswith("gallery/") and key in found.embeddings]
    if not enrolled_keys:
        raise SourceError(f"{gallery}: no picture with a face; expected photos of people: NAME.jpg or NAME/any.jpg")
    names = sorted({people[key] for key in enrolled_keys})
    column = {name: number for number, name in enumerate(names)}
    rows = np.stack([found.embeddings[key] for key in enrolled_keys])
    person_of_row = np.array([column[people[key]] for key in enrolled_keys])
    probe_keys = [key for key in files if key.startswith("probes/") and people[key] in column]
    stranger_keys = [
        key
        for key in files
        if key.startswith("strangers/") or (key.startswith("probes/") and people[key] not in column)
    ]
    if not probe_keys or not stranger_keys:
        raise SourceError(
            f"{probes}: {counted(len(probe_keys), 'picture')} of enrolled people and "
            f"{counted(len(stranger_keys), 'picture')} of strangers; both are needed (--strangers DIR)"
        )
    margin = recognizer.margin
    known, unknown = (
        _decided(found, keys, people, column, rows, person_of_row, margin) for keys in (probe_keys, stranger_keys)
    )
    calibration = recognizer.calibrate(rows, [people[key] for key in enrolled_keys])
    return IdentificationFigures(
        people=len(names),
        photos=len(rows),
        enrolled=known,
        strangers=unknown,
        without_face=len(found.without_face),
        tpirs=[tpir(known, unknown, fpir) for fpir in FPIRS],
        fixed=_fixed(recognizer.threshold, known, unknown, calibration),
        ways=_ways(recognizer, found, probe_keys, stranger_keys, people, enrolled_keys, column) if compare_ways else {},
    )


def _decided(
    found: MainFaces,
    keys: List[str],
    people: Dict[str, str],
    column: Dict[str, int],
    rows: np.ndarray,
    person_of_row: np.ndarray,
    margin: float,
) -> Answers:
    """As the program decides: the best photo, and the margin."""
    persons = {name: number for number, name in enumerate(sorted({people[key] for key in keys}))}
    scores, right = np.full(len(keys), -np.inf), np.zeros(len(keys), bool)
    seen = [number for number, key in enumerate(keys) if key in found.embeddings]
    if seen:
        nearest = nearest_people(np.stack([found.embeddings[keys[n]] for n in seen]), rows, person_of_row)
        clear = (nearest.similarity - nearest.runner_up >= margin) | (nearest.runner_up == -1)
        scores[seen] = np.where(clear, nearest.similarity, -np.inf)
        right[seen] = [column.get(people[keys[n]]) == int(who) for n, who in zip(seen, nearest.person)]
    return Answers(scores, right, np.array([persons[people[key]] for key in keys]))


def _fixed(
    threshold: float, known: Answers, unknown: Answers, calibration: Optional[Calibration]
) -> List[FixedThreshold]:
    chosen: List[Tuple[str, float]] = [("the program's", threshold)]
    if calibration is not None:
        chosen += [(f"calibrated for {100 * rate:g} %", calibration.tail.threshold(rate)) for rate in FPIRS]
    return [
        FixedThreshold(
            name,
            value,
            known.identified(value),
            unknown.accepted(value),
            None if calibration is None else calibration.tail.rate(value),
            None if calibration is None else calibration.tail.upper_bound(value),
        )
        for name, value in chosen
    ]


def _ways(
    recognizer: Recognizer,
    found: MainFaces,
    probe_keys: List[str],
    stranger_keys: List[str],
    people: Dict[str, str],
    enrolled_keys: List[str],
    column: Dict[str, int],
) -> Dict[float, List[Difference]]:
    photos = [
        EnrolledPhotos(
            np.stack([found.embeddings[key] for key in enrolled_keys if people[key] == name]),
            np.array([found.clarities[key] for key in enrolled_keys if people[key] == name]),
        )
        for name in column
    ]
    cohort = np.empty((0, 0)) if recognizer.reference is None else recognizer.reference.strangers
    measured: List[Dict[str, Answers]] = []
    for keys in (probe_keys, stranger_keys):
        seen = [key for key in keys if key in found.embeddings]
        numbers = {name: number for number, name in enumerate(sorted({people[key] for key in seen}))}
        ways = ways_to_compare(np.stack([found.embeddings[key] for key in seen]), photos, cohort)
        truth = [column.get(people[key]) for key in seen]
        persons = [numbers[people[key]] for key in seen]
        measured.append({way: answers(scores, truth, persons) for way, scores in ways.items()})
    known, unknown = measured
    return {fpir: differences(known, unknown, fpir) for fpir in FPIRS if len(stranger_keys) >= 1 / fpir}


def identification_text(figures: IdentificationFigures) -> str:
    known, unknown = figures.enrolled, figures.strangers
    lines = [
        f"enrolled: {counted(figures.people, 'person', 'people')}, {counted(figures.photos, 'photo')}; looked up: "
        f"{counted(len(known.scores), 'picture')} of {len(np.unique(known.persons))} of them, "
        f"{counted(len(unknown.scores), 'picture')} of {counted(len(np.unique(unknown.persons)), 'stranger')}",
        f"no face was found in {counted(figures.without_face, 'picture')}",
        "",
        f"nearest person is the right one (rank 1): {figures.enrolled.rank_1}",
    ]
    for at in figures.tpirs:
        what = f"identified (TPIR) while {100 * at.fpir:g} % of strangers get a name (FPIR)"
        if not at.measurable:
            lines.append(f"{what}: needs {1 / at.fpir:,.0f} pictures of strangers")
            continue
        low, high = at.interval
        counts = f"{at.share.hits} of {at.share.of}, threshold {at.threshold:.3f}"
        lines.append(f"{what}: {percentage(at.share.value)} [{percentage(low)}, {percentage(high)}], {counts}")
    rows = [
        (
            at.name,
            f"{at.threshold:.3f}",
            str(at.identified),
            str(at.accepted),
            "-" if at.stated is None else percentage(at.stated, 3),
            "-" if at.bound is None else percentage(at.bound, 3),
        )
        for at in figures.fixed
    ]
    lines += ["", table(("threshold", "", "identified", "strangers with a name", "stated", "95 % bound"), rows)]
    for fpir, ways in figures.ways.items():
        cells = []
        for way in ways:
            gain, least, most = (f"{100 * value:+.2f} %" for value in (way.gain, *way.interval))
            cells.append((way.way, percentage(way.tpir), f"{gain} [{least}, {most}]"))
        lines += ["", table((f"compared by, FPIR {100 * fpir:g} %", "TPIR", "gain over the best photo"), cells)]
    return "\n".join(lines)


def identification_json(figures: IdentificationFigures) -> Dict[str, Any]:
    return {
        "people": figures.people,
        "photos": figures.photos,
        "pictures": len(figures.enrolled.scores),
        "strangers": len(np.unique(figures.strangers.persons)),
        "stranger_pictures": len(figures.strangers.scores),
        "without_face": figures.without_face,
        "rank_1": figures.enrolled.rank_1.as_json(),
        "tpir": [
            {
                "fpir": at.fpir,
                "measurable": at.measurable,
                "threshold": at.threshold,
                **at.share.as_json(),
                "interval_95": list(at.interval),
            }
            for at in figures.tpirs
        ],
        "thresholds": [
            {
                "name": at.name,
                "threshold": at.threshold,
                "identified": at.identified.as_json(),
                "strangers_named": at.accepted.as_json(),
                "stated": at.stated,
                "bound_95": at.bound,
            }
            for at in figures.fixed
        ],
        "ways": {str(fpir): [asdict(way) for way in ways] for fpir, ways in figures.ways.items()},
    }
