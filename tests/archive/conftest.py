"""Archives of the demo's pictures, and pictures that a test holds back as long as it wants."""

import contextlib
import os
import shutil
import signal
import threading
from pathlib import Path

import cv2
import pytest
from shipped import CATALOG
from waiting import until

from app.errors import ExitCode


class HeldPicture:
    """A named pipe in the place of a picture: its reader waits until the test writes."""

    def __init__(self, path, image):
        self.path = path
        self._data = cv2.imencode(".png", image)[1].tobytes()
        os.mkfifo(path)

    def reader(self):
        """Waits for a process that reads it, and returns its id and the pipe's other end, which must be closed."""
        opened = []

        def open_other_end():
            with contextlib.suppress(OSError):
                opened.append(os.open(self.path, os.O_WRONLY | os.O_NONBLOCK))

        until(lambda: opened, open_other_end)
        found = []
        until(lambda: found, lambda: found.extend(self._readers()))
        return found[0], opened[0]

    def _readers(self):
        for link in Path("/proc").glob("[0-9]*/fd/*"):
            with contextlib.suppress(OSError):
                process = int(link.parts[2])
                if os.readlink(link) == str(self.path) and process != os.getpid():
                    yield process

    def kill_reader(self):
        """Kills the process that reads it."""
        process, end = self.reader()
        os.kill(process, signal.SIGKILL)
        # It must not see the end of the pipe before it is dead.
        until(lambda: not Path(f"/proc/{process}/fd").exists() or state(process) in "ZX")
        os.close(end)

    def give(self):
        """Lets one reader have the picture, as soon as there is one."""
        threading.Thread(target=lambda: self.path.write_bytes(self._data), daemon=True).start()


def state(process):
    """The letter of the kernel: Z for a process that is dead; empty once it is gone."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return "X"


@pytest.fixture(scope="session")
def few_pictures(tmp_path_factory, portraits):
    """Eight small pictures with one or two faces, one in a subfolder, and one that is no picture."""
    folder = tmp_path_factory.mktemp("few") / "pictures"
    (folder / "more").mkdir(parents=True)
    small = [cv2.resize(portrait.image, None, fx=0.5, fy=0.5) for portrait in portraits]
    sized = [cv2.resize(image, (240, 320)) for image in small]
    for number in range(8):
        image = small[number] if number < 3 else cv2.hconcat([sized[number % 3], sized[(number + 1) % 3]])
        place = folder / "more" if number == 7 else folder
        assert cv2.imwrite(str(place / f"{number}.png"), image)
    (folder / "broken.jpg").write_bytes(b"\xff\xd8\xff no picture")
    return folder


@pytest.fixture
def held(few_pictures, portraits, tmp_path):
    """A copy of the pictures with one more that is held back."""
    folder = tmp_path / "pictures"
    shutil.copytree(few_pictures, folder)
    return HeldPicture(folder / "held.png", cv2.resize(portraits[0].image, None, fx=0.5, fy=0.5))


@pytest.fixture(scope="session")
def rows_of():
    """The rows of an archive by file; of a video, the last one."""

    def read(out):
        from app.archive.parts import part_files, read_rows

        return {row["file"]: row for path in part_files(out) for row in read_rows(path, ["file", "error", "faces"])}

    return read


@pytest.fixture(scope="session")
def archive(tmp_path_factory, few_pictures, people_video):
    """A finished archive of pictures and a video, made in this process."""
    from app.cli import main

    folder = tmp_path_factory.mktemp("archive")
    config = folder / "test.yaml"
    config.write_text(f"models:\n  catalog: {CATALOG}\n  backend: onnx\n", encoding="utf-8")
    words = ["batch", few_pictures, people_video, "--every", 0.5, "--out", folder / "out", "--workers", 2]
    assert main([*map(str, words), "--config", str(config)]) == ExitCode.INCOMPLETE
    return folder / "out"
