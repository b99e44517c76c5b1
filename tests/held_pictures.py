"""Pictures that a test holds back as long as it wants, and a few that it does not."""

import contextlib
import os
import signal
import threading
from pathlib import Path

import cv2
from waiting import until


class HeldPicture:
    """A named pipe in the place of a picture: its reader waits until the test writes."""

    def __init__(self, path, image):
        self.path = path
        self._data = cv2.imencode(".png", cv2.resize(image, None, fx=0.5, fy=0.5))[1].tobytes()
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

    def stopped_reader(self):
        """The process that reads it, which does not go on. The next reader waits for a picture."""
        process, end = self.reader()
        os.kill(process, signal.SIGSTOP)
        until(lambda: states(process) <= set("TZX"))
        os.close(end)
        return process

    def kill_reader(self):
        """Kills the process that reads it."""
        process = self.stopped_reader()
        os.kill(process, signal.SIGKILL)
        until(lambda: not alive(process))

    def give(self):
        """Lets one reader have the picture, as soon as there is one."""
        threading.Thread(target=self.path.write_bytes, args=(self._data,), daemon=True).start()


def states(process):
    """The letters of the kernel for each thread: Z for one that is dead, T for one that is stopped. While one is left,
    the files of the process are open, even if the process counts as dead."""
    found = set()
    with contextlib.suppress(OSError):  # it is gone
        for thread in Path(f"/proc/{process}/task").iterdir():
            with contextlib.suppress(OSError):
                found.add((thread / "stat").read_text().rpartition(")")[2].split()[0])
    return found


def alive(process):
    return not states(process) <= set("ZX")


def few_pictures_in(folder, portraits):
    """Eight small pictures with one or two faces, one in a subfolder, and one that is no picture."""
    (folder / "more").mkdir(parents=True)
    small = [cv2.resize(portrait.image, None, fx=0.5, fy=0.5) for portrait in portraits]
    sized = [cv2.resize(image, (240, 320)) for image in small]
    for number in range(8):
        image = small[number] if number < 3 else cv2.hconcat([sized[number % 3], sized[(number + 1) % 3]])
        place = folder / "more" if number == 7 else folder
        assert cv2.imwrite(str(place / f"{number}.png"), image)
    (folder / "broken.jpg").write_bytes(b"\xff\xd8\xff no picture")
    return folder
