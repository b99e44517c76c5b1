"""One model as the catalogue describes it, and whether its file is there and is the right one."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Mapping, Optional, Tuple

from app.errors import ModelError
from app.inference.onnx_damage import damage_of
from app.text import program
from app.vision.preprocessing import FaceInput, Preprocessing

MY_MODELS = "my_models.yaml"
"""The user's own models, in a file beside the catalogue that updates leave alone."""

_HASH_BLOCK = 1 << 20


class FileState(Enum):
    """What lies where a model's file should be."""

    VALID = "valid"
    MISSING = "missing"
    WRONG_HASH = "wrong hash"


@dataclass(frozen=True)
class ModelEntry:
    """One model as the catalogue describes it."""

    name: str
    task: str
    """`detection`, `embedding`, or one of those that only look at a face that was found already."""
    family: str
    """Which class reads its outputs; see `app/models/families.py`."""
    file: Path
    sha256: str
    """Empty for a network that is only described."""
    preprocessing: Preprocessing
    licence: str
    source: str
    """Where the weights come from, in words."""
    min_sizes: Tuple[Tuple[int, ...], ...] = ()
    """RetinaFace: the anchors' side lengths for each stride."""
    landmark_scale: float = 1.0
    """RetinaFace for MXNet: what its landmark offsets are multiplied with."""
    min_score: float = 0.0
    """Detection: the score from which a box is a face, unless the user says otherwise."""
    crop: Tuple[int, int] = (0, 0)
    """All but detection: width and height of the picture of one face that it takes; zeros where that is not said."""
    enlarge: float = 0.0
    """Gender and age, 106 landmarks, anti-spoofing: how many times larger than the face's box the picture is that it
    takes; 0: the aligned face."""
    dimensions: int = 0
    """Embedding: length of the vector."""
    threshold: float = 0.0
    """Embedding: the cosine from which two faces count as the same person, unless the user says otherwise."""
    aliases: Tuple[str, ...] = ()
    """Other names of a network that is only described; `read_catalog` makes an entry of each."""
    notes: str = ""
    source_file: Path = Path("catalog.yaml")
    """The file that holds this entry."""
    built_in: bool = False
    """Comes with this program; what is not and has no `url` was put there by the user."""
    url: str = ""
    """Where `engines pull` gets it; empty for models that are not on the net."""
    size_bytes: Optional[int] = None
    commercial_use: bool = True
    """False: its terms allow non-commercial use only, which `engines pull` makes the user accept."""
    figures: Mapping[str, str] = field(default_factory=dict)
    """What others or we measured, as text by name."""
    card: str = ""
    """The document that tells how it was made."""

    @property
    def face_input(self) -> FaceInput:
        return FaceInput(self.preprocessing, self.crop, self.enlarge)

    @property
    def licence_text(self) -> str:
        return self.licence if self.commercial_use else f"{self.licence}: NON-COMMERCIAL use only"

    def file_state(self) -> FileState:
        """Reads the whole file where there is one."""
        if not self.file.is_file():
            return FileState.MISSING
        return FileState.VALID if sha256_of(self.file) == self.sha256 else FileState.WRONG_HASH

    def verified_file(self) -> Path:
        """The network's file, proved to be the one that the catalogue means."""
        if not self.file.is_file():
            raise ModelError(
                f"model {self.name!r} is missing: there is no file {self.file}\n"
                f"  source: {self.source}\n"
                f"  {self.how_to_get}"
            )
        found = sha256_of(self.file)
        if found != self.sha256:
            raise ModelError(self._is_another(found))
        return self.file

    def _is_another(self, found: str) -> str:
        damage = damage_of(self.file)
        if damage:
            return f"model {self.name!r} is damaged: {self.file}: {damage}\n  {self.how_to_get}"
        is_own = not self.built_in and not self.url
        accept = f"; or, if this is the right one, write the found hash into {self.source_file}" if is_own else ""
        return (
            f"{self.file} is not the file that the catalogue describes as {self.name!r}\n"
            f"  expected SHA-256 {self.sha256}\n"
            f"  found    SHA-256 {found}\n"
            f"  {self.how_to_get}{accept}"
        )

    @property
    def how_to_get(self) -> str:
        if self.built_in:
            return "models that come with this program are restored by: git checkout -- engines"
        if self.url:
            return f"get it with: {self.pull_command}"
        if self.source_file.name == MY_MODELS:
            return f"import it again: {program()} engines import FILE --name {self.name} --replace"
        return f"the catalogue knows no address for it: put the file there as {self.file}"

    @property
    def pull_command(self) -> str:
        consent = "" if self.commercial_use else " --accept-licence"
        return f"{program()} engines pull {self.name}{consent}"


def sha256_of(path: Path) -> str:
    """The file's hash as 64 hexadecimal digits."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        for block in iter(lambda: file.read(_HASH_BLOCK), b""):
            digest.update(block)
    return digest.hexdigest()
