"""A real NATS server with JetStream, Debian's nats-server, and what its stream has stored."""

import asyncio
import shutil
import socket
import subprocess

from mosquitto import free_port
from waiting import until

_PROGRAM = shutil.which("nats-server", path="/usr/sbin:/usr/bin:/usr/local/sbin:/usr/local/bin")
MISSING = None if _PROGRAM else "nats-server is not installed (tests/install_system_packages.sh)"


class NatsServer:
    def __init__(self, folder, *words):
        self.port = free_port()
        self._folder = folder
        self._words = words
        self.start()

    @property
    def url(self):
        return f"nats://127.0.0.1:{self.port}"

    def start(self):
        command = [_PROGRAM, "-a", "127.0.0.1", "-p", str(self.port), "-js", "-sd", str(self._folder), *self._words]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        until(self._listens)

    def _listens(self):
        assert self.process.poll() is None, "nats-server has ended"
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def kill(self):
        self.process.kill()
        self.process.wait()

    def close(self):
        self.process.terminate()
        self.process.wait()

    def stored(self, stream="FACES", **options):
        """Subject, key and content of each message, in order."""

        async def read():
            import nats

            client = await nats.connect(self.url, **options)
            jetstream = client.jetstream()
            state = (await jetstream.stream_info(stream)).state
            numbers = range(state.first_seq, state.last_seq + 1)
            found = [await jetstream.get_msg(stream, number) for number in numbers]
            await client.close()
            return [(one.subject, one.headers["Nats-Msg-Id"], one.data) for one in found]

        return asyncio.run(read())
