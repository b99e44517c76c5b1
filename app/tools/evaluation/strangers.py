"""How often a stranger who comes again gets another number, and how often two people get one."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Dict, List, Optional, Set, Tuple

import numpy as np

from app.capture.pictures import read_picture
from app.capture.uri import PICTURE_SUFFIXES
from app.errors import AppError, SourceError
from app.identity.stranger_rules import duplicates
from app.identity.strangers import Merged, Seen, StrangerBook, Visit
from app.recognizer import Recognizer
from app.text import counted
from app.types import ProgressCallback
from app.vision.quality import main_face

_MODEL = "evaluated"


@dataclass(frozen=True)
class NumbersGiven:
    """People who came in a random order, each picture as a visit."""

    similarity: float
    """The minimum cosine with a stranger seen before."""
    people: int
    visits: int
    strangers: int
    """Numbers at the end."""
    shared: int
    """Numbers that several people have."""
    divided: int
    """People who have several numbers."""

    def text(self) -> str:
        return (
            f"{counted(self.visits, 'visit')} of {counted(self.people, 'person', 'people')}, similarity "
            f"{self.similarity:.2f}: {counted(self.strangers, 'number')}; {self.shared} shared by several people, "
            f"{counted(self.divided, 'person', 'people')} with several numbers"
        )

    def as_json(self) -> Dict[str, Any]:
        return asdict(self)


def faces_of_people(
    folder: Path, recognizer: Recognizer, progress: Optional[ProgressCallback] = None
) -> List[Tuple[str, np.ndarray]]:
    """The person and the embedding of each picture in `folder/PERSON/`; pictures without a face are left out."""
    pictures = sorted(path for path in folder.glob("*/*") if path.suffix.lower() in PICTURE_SUFFIXES)
    if not pictures:
        raise AppError(f"{folder}: no pictures; expected a folder of pictures for each person")
    found = []
    for count, path in enumerate(pictures, 1):
        try:
            image = read_picture(path)
        except SourceError:
            continue
        (faces,) = recognizer.find([image])
        if len(faces):
            face = faces[main_face(faces, (image.shape[1], image.shape[0]))]
            found.append((path.parent.name, recognizer.embed_crops(recognizer.crops(image, face))[0]))
        if progress is not None:
            progress(count, len(pictures))
    return found


def numbers_given(faces: List[Tuple[str, np.ndarray]], similarity: float, seed: int = 0) -> NumbersGiven:
    """Gives numbers as a run does, one visit per face."""
    book = StrangerBook()
    person_of: Dict[str, str] = {}
    for moment, index in enumerate(np.random.default_rng(seed).permutation(len(faces)).tolist()):
        person, embedding = faces[index]
        nearest = book.nearest(embedding, _MODEL)
        known = nearest[0].stranger if nearest and nearest[0].similarity >= similarity else book.next_number
        time = float(moment)
        visit = Visit(str(index), "evaluated", 1, time, time, _MODEL, embedding, 1.0, 1, stranger=known)
        person_of[visit.id] = person
        book.apply(Seen(visit))
        merges: List[Merged] = duplicates(book, visit, similarity)
        for merge in merges:
            book.apply(merge)
    people: Dict[int, Set[str]] = {}
    numbers: Dict[str, Set[int]] = defaultdict(set)
    for stranger in book.strangers:
        people[stranger] = {person_of[visit.id] for visit in book.visits_of(stranger)}
        for person in people[stranger]:
            numbers[person].add(stranger)
    return NumbersGiven(
        similarity=round(similarity, 4),
        people=len(numbers),
        visits=len(faces),
        strangers=len(people),
        shared=sum(len(named) > 1 for named in people.values()),
        divided=sum(len(given) > 1 for given in numbers.values()),
    )
