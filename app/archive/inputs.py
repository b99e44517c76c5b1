"""What an archive consists of: the pictures and videos of folders, lists and single files."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import Dict, Iterator, List, NamedTuple, Sequence, Tuple

from app.capture.uri import PICTURE_SUFFIXES
from app.errors import SourceError

logger = logging.getLogger(__name__)

VIDEO_SUFFIXES = (".mp4", ".mkv", ".avi", ".mov", ".m4v", ".webm", ".ts", ".mpg", ".mpeg")
LIST_SUFFIXES = (".txt", ".lst")
MISSING = -1
"""The size of a file of a list that does not exist."""


class Inputs(NamedTuple):
    """The files of an archive, relative to one folder, in the order of their names."""

    root: Path
    pictures: List[Tuple[str, int]]
    """Path and size."""
    videos: List[Tuple[str, int]]


def find_inputs(places: Sequence[Path], without: Path) -> Inputs:
    """Folders are searched with their subfolders; hidden files and folders are skipped, and so are links to folders and
    the folder `without`.

    A `.txt` or `.lst` file is a list with a path on each line, relative to the list's folder.
    """
    sizes: Dict[str, int] = {}
    skipped = os.path.abspath(without)
    roots: List[str] = []
    for place in places:
        path = os.path.abspath(place)
        if os.path.isdir(path):
            roots.append(path)
            sizes.update(_of_folder(path, skipped))
        elif not os.path.isfile(path):
            raise SourceError(f"{place}: no such folder, list, picture or video")
        elif path.lower().endswith(LIST_SUFFIXES):
            listed = _of_list(path)
            roots += {os.path.dirname(file) for file in listed}
            sizes.update(listed)
        elif path.lower().endswith((*PICTURE_SUFFIXES, *VIDEO_SUFFIXES)):
            roots.append(os.path.dirname(path))
            sizes[path] = os.path.getsize(path)
        else:
            expected = f"a folder, a list ({', '.join(LIST_SUFFIXES)}), a picture or a video"
            raise SourceError(f"{place}: expected {expected}")
    if not sizes:
        raise SourceError(f"no pictures and no videos in {', '.join(map(str, places))}")
    root = os.path.commonpath(roots)
    files = sorted((os.path.relpath(path, root), size) for path, size in sizes.items())
    videos = [entry for entry in files if entry[0].lower().endswith(VIDEO_SUFFIXES)]
    pictures = [entry for entry in files if not entry[0].lower().endswith(VIDEO_SUFFIXES)]
    return Inputs(Path(root), pictures, videos)


def _of_folder(folder: str, skipped: str) -> Iterator[Tuple[str, int]]:
    folders = [folder]
    while folders:
        here = folders.pop()
        try:
            entries = list(os.scandir(here))
        except OSError as error:
            if here == folder:
                raise SourceError(f"{here}: cannot be read: {error.strerror}") from error
            logger.warning("%s: left out, it cannot be read: %s", here, error.strerror)
            continue
        for entry in entries:
            if entry.name.startswith(".") or entry.path == skipped:
                continue
            if entry.is_dir(follow_symlinks=False):
                folders.append(entry.path)
            elif entry.is_symlink() and os.path.isdir(entry.path):
                logger.warning("%s: left out, it is a link to a folder; name it too if it belongs in", entry.path)
            elif entry.name.lower().endswith((*PICTURE_SUFFIXES, *VIDEO_SUFFIXES)):
                yield entry.path, _size(entry.path)


def _of_list(path: str) -> Dict[str, int]:
    try:
        # Names of files may hold bytes that are not text.
        text = Path(path).read_text(encoding="utf-8", errors="surrogateescape")
    except OSError as error:
        raise SourceError(f"{path}: cannot be read: {error.strerror}") from error
    if "\0" in text:
        raise SourceError(f"{path}: has zero bytes; expected a text file with a path on each line")
    names = [line for line in text.lstrip("\ufeff").split("\n") if line.strip()]
    folder = os.path.dirname(path)
    files = (os.path.normpath(os.path.join(folder, name.rstrip("\r"))) for name in names)
    return {file: _size(file) for file in files}


def _size(path: str) -> int:
    try:
        return os.stat(path).st_size
    except OSError:
        return MISSING
