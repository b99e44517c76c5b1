"""Processes of other programs: servers that listen on a port of this machine, and whether one still runs."""

import shutil
import socket
import subprocess
from pathlib import Path

from ports import free_port
from waiting import until


def installed(name):
    """The path of a program, also of those that Debian puts where only root looks; None if it is not installed."""
    return shutil.which(name, path="/usr/sbin:/usr/bin:/usr/local/sbin:/usr/local/bin")


class LocalProcess:
    def __init__(self, folder, port=None):
        self.port = port or free_port()
        self.folder = folder
        self.start()

    def command(self):
        raise NotImplementedError

    def start(self):
        self.process = subprocess.Popen(
            list(map(str, self.command())),
            cwd=self.folder,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        until(self._listens)

    def _listens(self):
        assert self.process.poll() is None, f"{self.process.args[0]} has ended"
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def kill(self):
        """kill -9: what it has not written is lost."""
        self.process.kill()
        self.process.wait()

    def close(self):
        self.process.terminate()
        self.process.wait()


def is_running(pid):
    """Whether a process is there that has not ended. It may vanish meanwhile."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False
