"""`python -m app serve` as a process of its own, which can be killed, frozen and started again."""

import contextlib
import signal
import subprocess
import sys

from http_client import Client, free_port
from shipped import CATALOG, ROOT
from waiting import until


class ServeProcess:
    """Embeds for other devices. It begins with `start`."""

    def __init__(self, folder, catalog=CATALOG):
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.client = Client(self.port)
        self.tokens = folder / "tokens.json"
        (folder / "empty").mkdir(exist_ok=True)
        self._config = folder / "serve.yaml"
        self.describe(catalog)
        self._process = None

    def describe(self, catalog=CATALOG, **attributes):
        """The models from the next start on."""
        more = "attributes:\n" * bool(attributes) + "".join(f"  {name}: {of}\n" for name, of in attributes.items())
        gallery = self._config.with_name("empty")
        self._config.write_text(
            f"models:\n  catalog: {catalog}\n  backend: onnx\n  threads: 1\n{more}"
            f"gallery:\n  folder: {gallery}\nserve:\n  port: {self.port}\n  tokens: {self.tokens}\n"
        )

    def start(self):
        command = [sys.executable, "-m", "app", "serve", "--config", str(self._config)]
        self._process = subprocess.Popen(
            command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
        )
        until(self._answers)

    def freeze(self):
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self):
        self._process.send_signal(signal.SIGCONT)

    def kill(self):
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None

    def _answers(self):
        assert self._process.poll() is None, self._process.stderr.read()
        with contextlib.suppress(OSError):
            return self.client.get("/v2/health/ready").status == 200
        return False
