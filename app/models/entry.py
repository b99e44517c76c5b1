"""One model as the catalogue describes it, and the check of its file."""

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
"""The file with the user's own models, next to the catalogue; updates of the program do not change it."""

_HASH_BLOCK = 1 << 20


class FileState(Enum):
    """The state of a model's file on this machine."""

    VALID = "valid"
    MISSING = "missing"
    WRONG_HASH = "wrong hash"


@dataclass(frozen=True)
class ModelEntry:
    """One model as the catalogue describes it."""

    name: str
    task: str
    """`detection`, `embedding`, or one of the tasks that take a face that was already found."""
    family: str
    """How its outputs are read; see `app/models/families.py`."""
    file: Path
    sha256: str
    """Empty for a model without a file."""
    preprocessing: Preprocessing
    licence: str
    source: str
    """Where the weights come from."""
    int8_file: Optional[Path] = None
    """The same network in int8 for processors, made by training/int8.py."""
    int8_sha256: str = ""
    min_sizes: Tuple[Tuple[int, ...], ...] = ()
    """RetinaFace: the anchors' side lengths for each stride."""
    landmark_scale: float = 1.0
    """RetinaFace for MXNet: factor of its landmark offsets."""
    min_score: float = 0.0
    """Detection: minimum score of a face, unless the setting detection.min_score gives another."""
    photo_score: float = 0.0
    """Detection: minimum score of a face in a gallery photo, unless the setting quality.photo_min_score gives
    another."""
    crop: Tuple[int, int] = (0, 0)
    """All but detection: width and height of its input, the picture of one face; zeros if unknown."""
    enlarge: float = 0.0
    """Attributes, landmarks, anti-spoofing: how many times larger than the face's box that picture is; 0: the aligned
    face."""
    dimensions: int = 0
    """Embedding: length of the vector."""
    threshold: float = 0.0
    """Embedding: minimum cosine similarity of two faces of one person, unless the setting recognition.threshold gives
    another."""
    reference: Optional[Path] = None
    """Embedding: the file with its embeddings of strangers and non-faces (`app/models/reference.py`)."""
    aliases: Tuple[str, ...] = ()
    """Other names of a model without a file; `read_catalog` makes an entry of each."""
    notes: str = ""
    source_file: Path = Path("catalog.yaml")
    """The file that holds this entry."""
    built_in: bool = False
    """Comes with this program. Other models are downloaded from `url` or, without one, installed by the user."""
    url: str = ""
    """Where `engines pull` downloads it."""
    size_bytes: Optional[int] = None
    commercial_use: bool = True
    """False: non-commercial use only; `engines pull` asks the user to accept that."""
    figures: Mapping[str, str] = field(default_factory=dict)
    """Published or measured accuracy and the like: text by name."""
    card: str = ""
    """The document that describes how it was made."""

    @property
    def face_input(self) -> FaceInput:
        return FaceInput(self.preprocessing, self.crop, self.enlarge)

    @property
    def licence_text(self) -> str:
        return self.licence if self.commercial_use else f"{self.licence}: NON-COMMERCIAL use only"

    def file_state(self) -> FileState:
        """Compares the file's hash, which reads the whole file."""
        if not self.file.is_file():
            return FileState.MISSING
        return FileState.VALID if sha256_of(self.file) == self.sha256 else FileState.WRONG_HASH

    def verified_file(self) -> Path:
        """The model's file. Raises ModelError if it is missing, damaged or another one."""
        return self._verified(self.file, self.sha256)

    def verified_int8_file(self) -> Path:
        """The network in int8, checked like the model's file; only for a model that has one."""
        assert self.int8_file is not None
        return self._verified(self.int8_file, self.int8_sha256)

    def _verified(self, file: Path, sha256: str) -> Path:
        if not file.is_file():
            raise ModelError(
                f"model {self.name!r} is missing: there is no file {file}\n  source: {self.source}\n  {self.how_to_get}"
            )
        found = sha256_of(file)
        if found != sha256:
            damage = damage_of(file)
            if damage:
                raise ModelError(f"model {self.name!r} is damaged: {file}: {damage}\n  {self.how_to_get}")
            is_own = not self.built_in and not self.url
            accept = f"; or, if this file is the right one, put its hash into {self.source_file}" if is_own else ""
            raise ModelError(
                f"{file} is not the file that the catalogue describes as {self.name!r}\n"
                f"  expected SHA-256 {sha256}\n"
                f"  found    SHA-256 {found}\n"
                f"  {self.how_to_get}{accept}"
            )
        return file

    @property
    def how_to_get(self) -> str:
        if self.built_in:
            return "restore the built-in models with: git checkout -- engines"
        if self.url:
            return f"download it with: {self.pull_command}"
        if self.source_file.name == MY_MODELS:
            return f"import it again: {program()} engines import FILE --name {self.name} --replace"
        return f"the catalogue has no download address for it; save the file as {self.file}"

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
