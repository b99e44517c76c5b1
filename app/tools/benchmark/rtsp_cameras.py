"""Plays H.264 videos as RTSP cameras, endlessly and in real time, in a process of its own.

    python -m app.tools.benchmark.rtsp_cameras CLIP.mp4 ...

Prints its port. `rtsp://127.0.0.1:PORT/CLIP/SECOND` is a camera that shows the clip from this second on, again and
again. Only what FFmpeg and GStreamer ask for is understood: RTSP over TCP, one stream, no password.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import struct
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import AsyncIterator, Dict, List, Sequence, Tuple

CLOCK_RATE = 90_000
MAX_PAYLOAD = 8000
"""FFmpeg reads packets of up to 8192 bytes."""
_START_OF_FRAGMENT, _END_OF_FRAGMENT, _FRAGMENT = 0x80, 0x40, 28


@dataclass(frozen=True)
class Clip:
    """An H.264 video, ready to be sent."""

    frames: Sequence[Sequence[bytes]]
    """The NAL units of each frame."""
    keys: Sequence[int]
    """The frames at which a decoder can begin."""
    fps: float
    parameters: Tuple[bytes, ...]
    """SPS and PPS."""

    @classmethod
    def read(cls, path: Path) -> Clip:
        import av

        frames: List[List[bytes]] = []
        keys = []
        with av.open(str(path)) as container:
            stream = container.streams.video[0]
            fps = float(stream.average_rate or 25)
            parameters = _parameters(bytes(stream.codec_context.extradata or b""))
            for packet in container.demux(stream):
                if packet.size:
                    if packet.is_keyframe:
                        keys.append(len(frames))
                    frames.append(_units(bytes(packet)))
        return cls(frames, keys, fps, parameters)

    @property
    def seconds(self) -> float:
        return len(self.frames) / self.fps

    def description(self) -> str:
        """As SDP."""
        sets = ",".join(base64.b64encode(unit).decode() for unit in self.parameters)
        profile = self.parameters[0][1:4].hex()
        return "\r\n".join(
            [
                "v=0",
                "o=- 0 0 IN IP4 127.0.0.1",
                "s=bench",
                "c=IN IP4 0.0.0.0",
                "t=0 0",
                "m=video 0 RTP/AVP 96",
                f"a=rtpmap:96 H264/{CLOCK_RATE}",
                f"a=fmtp:96 packetization-mode=1;profile-level-id={profile};sprop-parameter-sets={sets}",
                f"a=framerate:{self.fps:g}",
                "a=control:video",
                "",
            ]
        )


def _parameters(record: bytes) -> Tuple[bytes, ...]:
    """SPS and PPS out of the decoder configuration of an MP4 file."""
    found, at = [], 6
    for _ in range(2):
        (size,) = struct.unpack_from(">H", record, at)
        found.append(record[at + 2 : at + 2 + size])
        # The number of the following ones is in between.
        at += 2 + size + 1
    return tuple(found)


def _units(packet: bytes) -> List[bytes]:
    found, at = [], 0
    while at < len(packet):
        (size,) = struct.unpack_from(">I", packet, at)
        found.append(packet[at + 4 : at + 4 + size])
        at += 4 + size
    return found


def payloads(unit: bytes) -> List[bytes]:
    """The RTP payloads of a NAL unit, in fragments if it is long (RFC 6184)."""
    if len(unit) <= MAX_PAYLOAD:
        return [unit]
    indicator, kind = (unit[0] & 0xE0) | _FRAGMENT, unit[0] & 0x1F
    pieces = [unit[at : at + MAX_PAYLOAD] for at in range(1, len(unit), MAX_PAYLOAD)]
    flags = [0] * len(pieces)
    flags[0] |= _START_OF_FRAGMENT
    flags[-1] |= _END_OF_FRAGMENT
    return [bytes([indicator, kind | flag]) + piece for flag, piece in zip(flags, pieces)]


def packets(units: Sequence[bytes], sequence: int, time_stamp: int) -> Tuple[bytes, int]:
    """A frame as interleaved RTP packets, and the number of the next one."""
    parts = [payload for unit in units for payload in payloads(unit)]
    sent = []
    for at, payload in enumerate(parts):
        marker = 0x80 if at == len(parts) - 1 else 0
        header = struct.pack(">BBHII", 0x80, marker | 96, sequence & 0xFFFF, time_stamp & 0xFFFFFFFF, 0x5EED)
        sent.append(b"$\0" + struct.pack(">H", len(header) + len(payload)) + header + payload)
        sequence += 1
    return b"".join(sent), sequence


async def _play(clip: Clip, second: float, writer: asyncio.StreamWriter) -> None:
    """Sends frames when they are due; what the other end does not take in time is left out, as cameras do."""
    wanted = second % clip.seconds * clip.fps
    at = min(clip.keys, key=lambda key: abs(key - wanted))
    clock = asyncio.get_running_loop().time
    began, sequence, waits_for_key = clock(), 0, False
    for number in range(sys.maxsize):
        await asyncio.sleep(max(0.0, began + number / clip.fps - clock()))
        frame = (at + number) % len(clip.frames)
        waits_for_key = (waits_for_key and frame not in clip.keys) or writer.transport.get_write_buffer_size() > 1 << 20
        if not waits_for_key:
            sent, sequence = packets(clip.frames[frame], sequence, int(number * CLOCK_RATE / clip.fps))
            writer.write(sent)


async def _requests(reader: asyncio.StreamReader) -> AsyncIterator[Tuple[str, str, Dict[str, str]]]:
    """Method, address and headers of each. RTCP packets in between are skipped."""
    while True:
        first = await reader.readexactly(1)
        if first == b"$":
            (size,) = struct.unpack(">xH", await reader.readexactly(3))
            await reader.readexactly(size)
            continue
        text = (first + await reader.readuntil(b"\r\n\r\n")).decode()
        line, *rest = text.strip().split("\r\n")
        method, address, _ = line.split(" ", 2)
        yield (
            method,
            address,
            {key.strip().lower(): value.strip() for key, _, value in (one.partition(":") for one in rest)},
        )


async def serve(clips: Dict[str, Clip]) -> None:
    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        playing = None
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            async for method, address, headers in _requests(reader):
                name, second = address.split("://", 1)[1].split("/")[1:3]
                clip, answer, body = clips[name], {"CSeq": headers["cseq"], "Session": "1"}, ""
                if method == "OPTIONS":
                    answer["Public"] = "OPTIONS, DESCRIBE, SETUP, PLAY, TEARDOWN"
                elif method == "DESCRIBE":
                    body = clip.description()
                    answer.update({"Content-Type": "application/sdp", "Content-Length": str(len(body))})
                elif method == "SETUP":
                    answer["Transport"] = "RTP/AVP/TCP;unicast;interleaved=0-1"
                lines = ["RTSP/1.0 200 OK", *(f"{key}: {value}" for key, value in answer.items()), "", body]
                writer.write("\r\n".join(lines).encode())
                if method == "PLAY":
                    playing = asyncio.ensure_future(_play(clip, float(second), writer))
                elif method == "TEARDOWN":
                    break
        if playing is not None:
            playing.cancel()
        writer.close()

    server = await asyncio.start_server(connected, "127.0.0.1", 0)
    sys.stdout.write(f"{server.sockets[0].getsockname()[1]}\n")
    sys.stdout.flush()
    # Until the parent closes it, or is gone.
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    server.close()


def main() -> None:
    asyncio.run(serve({path.stem: Clip.read(path) for path in map(Path, sys.argv[1:])}))


if __name__ == "__main__":
    main()
