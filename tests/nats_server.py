"""A real NATS server with JetStream, Debian's nats-server, and what its stream has stored."""

import asyncio

from local_process import LocalProcess, installed

MISSING = None if installed("nats-server") else "nats-server is not installed (tests/install_system_packages.sh)"


class NatsServer(LocalProcess):
    def __init__(self, folder, *words):
        folder.mkdir(exist_ok=True)
        self._words = words
        super().__init__(folder)

    @property
    def url(self):
        return f"nats://127.0.0.1:{self.port}"

    def command(self):
        return [installed("nats-server"), "-a", "127.0.0.1", "-p", self.port, "-js", "-sd", self.folder, *self._words]

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
