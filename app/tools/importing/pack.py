"""Packs: zip files with several ONNX networks, as InsightFace publishes them."""

from __future__ import annotations

import contextlib
import lzma
import tempfile
import zipfile
import zlib
from pathlib import Path, PurePosixPath
from typing import Iterator, List

from app.errors import ModelError
from app.text import megabytes
from app.tools.importing.my_models import require_space

MAX_NETWORK_BYTES = 2 << 30
"""More than any face network has."""

MAX_NETWORKS = 50
WEIGHTS = (".pth", ".pt", ".ckpt", ".wts")
"""Suffixes of files that can only be imported one by one."""

_BLOCK = 1 << 20
_DAMAGE = (zipfile.BadZipFile, zlib.error, lzma.LZMAError, ValueError, OSError)


def is_pack(path: Path) -> bool:
    """Whether it is a zip file that contains ONNX networks."""
    return zipfile.is_zipfile(path) and bool(_networks(path))


@contextlib.contextmanager
def unpacked(path: Path) -> Iterator[List[Path]]:
    """The networks of the pack as files in a temporary folder.

    Names and sizes in the archive are not trusted: only the last part of a name is used, so that no file is written
    outside the folder.
    """
    members = _networks(path)
    if len(members) > MAX_NETWORKS:
        raise ModelError(f"{path}: {len(members)} networks in a pack; the maximum is {MAX_NETWORKS}")
    with tempfile.TemporaryDirectory() as folder, zipfile.ZipFile(path) as archive:
        require_space(Path(folder), sum(min(member.file_size, MAX_NETWORK_BYTES) for member in members))
        files = []
        for member in members:
            target = Path(folder) / _file_name(member)
            if target in files:
                raise ModelError(f"{path}: two networks in this pack have the name {target.name}")
            _extract(path, archive, member, target)
            files.append(target)
        yield files


def other_files(path: Path) -> List[str]:
    """The other files in the zip file, without hidden ones."""
    networks = {member.filename for member in _networks(path)}
    return [_file_name(member) for member in _files(path) if member.filename not in networks]


def _networks(path: Path) -> List[zipfile.ZipInfo]:
    return [member for member in _files(path) if _file_name(member).lower().endswith(".onnx")]


def _files(path: Path) -> List[zipfile.ZipInfo]:
    try:
        with zipfile.ZipFile(path) as archive:
            members = [member for member in archive.infolist() if not member.is_dir()]
    except _DAMAGE as error:
        raise ModelError(f"{path}: this zip file cannot be read: {error}; is it complete?") from error
    return [member for member in members if not _file_name(member).startswith(".")]


def _file_name(member: zipfile.ZipInfo) -> str:
    return PurePosixPath(member.filename.replace("\\", "/")).name


def _extract(path: Path, archive: zipfile.ZipFile, member: zipfile.ZipInfo, target: Path) -> None:
    size = 0
    try:
        with archive.open(member) as source, target.open("wb") as file:
            for block in iter(lambda: source.read(_BLOCK), b""):
                size += len(block)
                if size > MAX_NETWORK_BYTES:
                    raise ModelError(f"{path}: {target.name} is larger than {megabytes(MAX_NETWORK_BYTES)}")
                file.write(block)
    except (*_DAMAGE, RuntimeError, NotImplementedError, EOFError) as error:
        raise ModelError(f"{path}: {target.name} cannot be unpacked: {error}") from error
