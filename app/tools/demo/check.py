"""Holding the demo's answers against the truth: the known ones must get their names, the stranger must not."""

from __future__ import annotations

from collections import Counter
from typing import Dict, List, Optional, Sequence, Tuple

from app.tools.demo.film import FaceTruth
from app.types import FrameResult


class TruthCheck:
    """An output of the run that compares every face with what the film is known to show."""

    name = "the demo's check"

    def __init__(self, truth: Sequence[Tuple[FaceTruth, ...]]) -> None:
        self._truth = truth
        self._answers: Dict[Optional[str], Counter[Optional[str]]] = {}
        self.false_faces = 0

    def handle(self, result: FrameResult) -> None:
        for box, match in zip(result.faces.boxes, result.matches):
            inside = [
                face
                for face in self._truth[result.frame.index]
                if box[0] < face.x < box[2] and box[1] < face.y < box[3]
            ]
            if inside:
                self._answers.setdefault(inside[0].name, Counter())[match.name] += 1
            else:
                self.false_faces += 1

    def close(self) -> None:
        """Nothing was opened."""

    def mistakes(self) -> List[str]:
        """What went wrong, in sentences; empty when everything is right."""
        people = {face.name for faces in self._truth for face in faces}
        found = []
        for person in sorted(people, key=str):
            answers = self._answers.get(person, Counter())
            wrong = {name: count for name, count in answers.items() if name not in (person, None)}
            for name, count in wrong.items():
                found.append(f"{person or 'the stranger'} was called {name} in {count} frames")
            if person is not None and answers[person] == 0:
                found.append(f"{person} was never recognised")
            if person is None and not answers:
                found.append("the stranger was never seen")
        return found

    def text(self) -> str:
        """For each person: in how many frames the face was found, and in how many of those it had the right name."""
        lines = []
        for person, answers in sorted(self._answers.items(), key=lambda item: str(item[0])):
            total = sum(answers.values())
            verdict = "named" if person is not None else "left unknown"
            lines.append(f"{person or 'the stranger'}: face found in {total} frames, {verdict} in {answers[person]}")
        return "\n".join(lines)
