"""Runs one GStreamer pipeline for a `PipelineProcess`, which starts it as a program:

    python -I -S child.py MESSAGES

It uses the machine's GStreamer library through ctypes and the standard library of Python only, so that it works with
any Python, whatever OpenCV that has, and nothing of the two can clash. MESSAGES is the number of an inherited file;
standard output is not used for them, because NVIDIA's elements print there. What to do comes over the standard input,
so no address and no password is in the list of processes. The process ends when that is closed.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import select
import signal
import struct
import sys
import threading
import time
from ctypes import POINTER, byref, c_char_p, c_int, c_size_t, c_uint, c_uint32, c_uint64, c_void_p
from typing import Any, Dict, Optional

HEADER = struct.Struct("<cIqq")
"""Of each message: kind, length of what follows, time and duration in nanoseconds (-1: unknown)."""
JOB = b"J"
"""What to do, in JSON."""
STARTED = b"S"
"""GStreamer is there; what follows takes as long as the pipeline."""
OPEN = b"O"
"""The source has answered, or the encoder is there."""
CAPS = b"C"
"""The format of the following frames; the duration is that of the recording."""
FRAME = b"F"
DAMAGED = b"D"
"""A frame of which the decoder says that it lacks something."""
ERROR = b"E"
"""In JSON: `text`, and whether a part of GStreamer `is_missing`."""
END = b"Z"
FOUND = b"L"
"""In JSON: `version`, and the `missing` elements of those that were asked for."""
UNKNOWN = -1

_READ_END_S, _WRITE_END_S = 0.3, 10.0
"""How long a pipeline may take to end before the process does."""
_POLL_NS = 100_000_000
_QUEUE_POLL_NS = 2_000_000
_MAX_QUEUED_FRAMES = 3
_STATE_NULL, _STATE_PLAYING = 1, 4
_MESSAGE_EOS, _MESSAGE_ERROR, _MESSAGE_PROGRESS = 1 << 0, 1 << 1, 1 << 25
_PROGRESS_COMPLETE = 2
_FORMAT_TIME = 3
_FLOW_OK = 0
_NO_SUCH_ELEMENT = ("gst_parse_error", 1)
_MISSING_PLUGIN = (("gst-core-error-quark", 12), ("gst-stream-error-quark", 6))


class PipelineFailedError(Exception):
    """What GStreamer says about a pipeline that fails."""

    def __init__(self, text: str, is_missing: bool = False) -> None:
        super().__init__(text)
        self.is_missing = is_missing


class _Error(ctypes.Structure):
    _fields_ = (("domain", c_uint32), ("code", c_int), ("message", c_char_p))


class _MapInfo(ctypes.Structure):
    _fields_ = (
        ("memory", c_void_p),
        ("flags", c_int),
        ("data", c_void_p),
        ("size", c_size_t),
        ("max_size", c_size_t),
        ("user_data", c_void_p * 4),
        ("reserved", c_void_p * 4),
    )


class _Buffer(ctypes.Structure):
    """The public beginning of `GstBuffer`, after that of `GstMiniObject`. It is the same in all releases of 1.x."""

    _fields_ = (
        ("type", c_size_t),
        ("counts", c_int * 2),
        ("flags", c_uint),
        ("functions", c_void_p * 3),
        ("private", c_uint),
        ("private_data", c_void_p),
        ("pool", c_void_p),
        ("pts", c_uint64),
        ("dts", c_uint64),
        ("duration", c_uint64),
    )


_MAP_READ, _MAP_WRITE = 1, 2
_CORRUPTED = 1 << 8
_NONE = 2**64 - 1
_NAME_OF_LIBRARY = {"gst": "libgstreamer-1.0.so.0", "app": "libgstapp-1.0.so.0", "glib": "libglib-2.0.so.0"}
_FUNCTIONS: Dict[str, Any] = {
    "gst_init_check": ("gst", c_int, [c_void_p, c_void_p, POINTER(POINTER(_Error))]),
    "gst_version_string": ("gst", c_void_p, []),
    "gst_element_factory_find": ("gst", c_void_p, [c_char_p]),
    "gst_parse_launch": ("gst", c_void_p, [c_char_p, POINTER(POINTER(_Error))]),
    "gst_bin_get_by_name": ("gst", c_void_p, [c_void_p, c_char_p]),
    "gst_element_set_state": ("gst", c_int, [c_void_p, c_int]),
    "gst_element_get_bus": ("gst", c_void_p, [c_void_p]),
    "gst_element_query_duration": ("gst", c_int, [c_void_p, c_int, POINTER(ctypes.c_int64)]),
    "gst_bus_timed_pop_filtered": ("gst", c_void_p, [c_void_p, c_uint64, c_int]),
    "gst_message_get_structure": ("gst", c_void_p, [c_void_p]),
    "gst_structure_get_name": ("gst", c_char_p, [c_void_p]),
    "gst_message_parse_error": ("gst", None, [c_void_p, POINTER(POINTER(_Error)), POINTER(c_void_p)]),
    "gst_message_parse_progress": ("gst", None, [c_void_p, POINTER(c_int), POINTER(c_void_p), c_void_p]),
    "gst_mini_object_unref": ("gst", None, [c_void_p]),
    "gst_sample_get_buffer": ("gst", c_void_p, [c_void_p]),
    "gst_sample_get_caps": ("gst", c_void_p, [c_void_p]),
    "gst_caps_to_string": ("gst", c_void_p, [c_void_p]),
    "gst_buffer_new_allocate": ("gst", c_void_p, [c_void_p, c_size_t, c_void_p]),
    "gst_buffer_map": ("gst", c_int, [c_void_p, POINTER(_MapInfo), c_int]),
    "gst_buffer_unmap": ("gst", None, [c_void_p, POINTER(_MapInfo)]),
    "gst_app_sink_try_pull_sample": ("app", c_void_p, [c_void_p, c_uint64]),
    "gst_app_sink_is_eos": ("app", c_int, [c_void_p]),
    "gst_app_src_push_buffer": ("app", c_int, [c_void_p, c_void_p]),
    "gst_app_src_get_current_level_bytes": ("app", c_uint64, [c_void_p]),
    "gst_app_src_end_of_stream": ("app", c_int, [c_void_p]),
    "g_quark_to_string": ("glib", c_char_p, [c_uint32]),
    "g_free": ("glib", None, [c_void_p]),
}


class GStreamer:
    """The library's functions that are needed, as methods with their own names."""

    def __init__(self) -> None:
        libraries = {}
        for key, name in _NAME_OF_LIBRARY.items():
            try:
                libraries[key] = ctypes.CDLL(name)
            except OSError as cause:
                raise PipelineFailedError(f"GStreamer's library {name} cannot be loaded: {cause}", True) from cause
        for name, (key, result, arguments) in _FUNCTIONS.items():
            function = getattr(libraries[key], name)
            function.restype, function.argtypes = result, arguments
            setattr(self, name, function)
        error = POINTER(_Error)()
        if not self.gst_init_check(None, None, byref(error)):
            raise self.failure(error)

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(name)

    def failure(self, error: Any, details: str = "") -> PipelineFailedError:
        if not error:
            return PipelineFailedError("GStreamer gives no reason")
        domain = self.g_quark_to_string(error.contents.domain).decode()
        kind = (domain, error.contents.code)
        text = error.contents.message.decode("utf-8", "replace")
        # The first line names a line of GStreamer's source; what follows is the element's own.
        own = details.partition("\n")[2].strip()
        text += f" ({own})" if own and own not in text else ""
        return PipelineFailedError(text, kind == _NO_SUCH_ELEMENT or kind in _MISSING_PLUGIN)

    def text(self, pointer: Optional[int]) -> str:
        """Frees it."""
        if not pointer:
            return ""
        text = ctypes.string_at(pointer).decode("utf-8", "replace")
        self.g_free(pointer)
        return text

    def map(self, buffer: Any, flags: int) -> _MapInfo:
        info = _MapInfo()
        if not self.gst_buffer_map(buffer, byref(info), flags):
            raise PipelineFailedError("GStreamer's frame cannot be read: it is not in the processor's memory")
        return info


class Pipeline:
    """A pipeline that runs."""

    def __init__(self, gst: GStreamer, text: str) -> None:
        self._gst = gst
        error = POINTER(_Error)()
        self._pipeline = gst.gst_parse_launch(text.encode("utf-8", "surrogateescape"), byref(error))
        if error or not self._pipeline:
            raise gst.failure(error)
        self._bus = gst.gst_element_get_bus(self._pipeline)
        if not gst.gst_element_set_state(self._pipeline, _STATE_PLAYING):
            self.check(wait_ns=10 * _POLL_NS)
            raise PipelineFailedError("the pipeline does not start")

    def element(self, name: str) -> int:
        return int(self._gst.gst_bin_get_by_name(self._pipeline, name.encode()))

    def check(self, wait_ns: int = 0) -> Optional[str]:
        """What the pipeline reports: `end`, `open` or None. Raises PipelineFailedError for an error."""
        gst = self._gst
        kinds = _MESSAGE_EOS | _MESSAGE_ERROR | _MESSAGE_PROGRESS
        while True:
            message = gst.gst_bus_timed_pop_filtered(self._bus, wait_ns, kinds)
            if not message:
                return None
            structure = gst.gst_message_get_structure(message)
            kind = gst.gst_structure_get_name(structure).decode() if structure else ""
            try:
                if kind == "":
                    return "end"
                if kind == "GstMessageError":
                    error, details = POINTER(_Error)(), c_void_p()
                    gst.gst_message_parse_error(message, byref(error), byref(details))
                    raise gst.failure(error, gst.text(details.value))
                step, code = c_int(), c_void_p()
                gst.gst_message_parse_progress(message, byref(step), byref(code), None)
                if gst.text(code.value) == "request" and step.value == _PROGRESS_COMPLETE:
                    return "open"
            finally:
                gst.gst_mini_object_unref(message)

    @property
    def duration_ns(self) -> int:
        duration = ctypes.c_int64(UNKNOWN)
        self._gst.gst_element_query_duration(self._pipeline, _FORMAT_TIME, byref(duration))
        return duration.value

    def end(self) -> None:
        self._gst.gst_element_set_state(self._pipeline, _STATE_NULL)


class Messages:
    """The way to the other process."""

    def __init__(self, file: int) -> None:
        self._file = file

    def send(self, kind: bytes, content: Any = b"", time_ns: int = UNKNOWN, duration_ns: int = UNKNOWN) -> None:
        self._write(HEADER.pack(kind, len(content), time_ns, duration_ns))
        self._write(content)

    def _write(self, content: Any) -> None:
        rest = memoryview(content)
        while rest:
            rest = rest[os.write(self._file, rest) :]


def read(gst: GStreamer, text: str, messages: Messages, stopped: threading.Event) -> None:
    """Sends the frames of the element `sink` as they come."""
    pipeline = Pipeline(gst, text)
    try:
        sink, caps_sent = pipeline.element("sink"), ""
        while not stopped.is_set():
            sample = gst.gst_app_sink_try_pull_sample(sink, _POLL_NS)
            if not sample:
                is_over = gst.gst_app_sink_is_eos(sink)
                if pipeline.check() == "open":
                    messages.send(OPEN)
                if is_over:
                    return
                continue
            caps = gst.text(gst.gst_caps_to_string(gst.gst_sample_get_caps(sample)))
            if caps != caps_sent:
                messages.send(CAPS, caps.encode(), duration_ns=pipeline.duration_ns)
                caps_sent = caps
            buffer = gst.gst_sample_get_buffer(sample)
            info = gst.map(buffer, _MAP_READ)
            pixels = (ctypes.c_ubyte * info.size).from_address(info.data)
            public = ctypes.cast(buffer, POINTER(_Buffer)).contents
            kind = DAMAGED if public.flags & _CORRUPTED else FRAME
            messages.send(kind, memoryview(pixels).cast("B"), UNKNOWN if public.pts == _NONE else public.pts)
            gst.gst_buffer_unmap(buffer, byref(info))
            gst.gst_mini_object_unref(sample)
    finally:
        pipeline.end()


def write(gst: GStreamer, text: str, messages: Messages) -> None:
    """Passes the frames that come to the element `source`; finishes when no more come, for whatever reason."""
    pipeline = Pipeline(gst, text)
    try:
        # The encoder has its device by now.
        messages.send(OPEN)
        source = pipeline.element("source")
        while True:
            head = _read_exactly(HEADER.size)
            kind, length, time_ns, duration_ns = HEADER.unpack(head) if head else (END, 0, UNKNOWN, UNKNOWN)
            if kind == END:
                break
            buffer = gst.gst_buffer_new_allocate(None, length, None)
            info = gst.map(buffer, _MAP_WRITE)
            is_whole = _read_into(memoryview((ctypes.c_ubyte * length).from_address(info.data)).cast("B"))
            gst.gst_buffer_unmap(buffer, byref(info))
            if not is_whole:
                break
            public = ctypes.cast(buffer, POINTER(_Buffer)).contents
            public.pts, public.duration = time_ns, duration_ns
            flow = gst.gst_app_src_push_buffer(source, buffer)
            pipeline.check()
            # The element can block by itself, but then it does so for ever if the rest of the pipeline has failed.
            while gst.gst_app_src_get_current_level_bytes(source) > _MAX_QUEUED_FRAMES * length:
                pipeline.check(wait_ns=_QUEUE_POLL_NS)
            if flow != _FLOW_OK:
                pipeline.check(wait_ns=10 * _POLL_NS)
                raise PipelineFailedError(f"the pipeline takes no more frames (GstFlowReturn {flow})")
        gst.gst_app_src_end_of_stream(source)
        while pipeline.check(wait_ns=_POLL_NS) != "end":
            pass
    finally:
        pipeline.end()


def _read_exactly(length: int) -> bytes:
    """Empty at the end."""
    content = bytearray(length)
    return bytes(content) if _read_into(memoryview(content)) else b""


def _read_into(rest: memoryview) -> bool:
    while rest:
        count = os.readv(0, [rest])
        if count == 0:
            return False
        rest = rest[count:]
    return True


def _end_with_parent(stopped: threading.Event, within_s: float) -> None:
    """Root of a thread: a pipeline may hang, and then only the end of the process ends it."""
    closed = select.poll()
    closed.register(0, 0)
    closed.poll()
    stopped.set()
    time.sleep(within_s)
    os._exit(1)


def main(messages: Messages) -> None:
    """Does what the first message of the standard input says."""
    # systemd sends this to all processes of a service. A video is to be finished, and all else ends with the program.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    try:
        # For the first time on a machine it looks at all plugins, which may take longer than opening a camera may. This
        # is finished even if nobody waits for it any more: otherwise each try would begin again.
        gst = GStreamer()
        messages.send(STARTED)
        head = _read_exactly(HEADER.size)
        if head:
            do(gst, json.loads(_read_exactly(HEADER.unpack(head)[1])), messages)
    except PipelineFailedError as failure:
        messages.send(ERROR, json.dumps({"text": str(failure), "is_missing": failure.is_missing}).encode())


def do(gst: GStreamer, job: Dict[str, Any], messages: Messages) -> None:
    stopped = threading.Event()
    within_s = _WRITE_END_S if job["do"] == "write" else _READ_END_S
    threading.Thread(target=_end_with_parent, args=(stopped, within_s), daemon=True).start()
    if job["do"] == "find":
        missing = [name for name in job["elements"] if not gst.gst_element_factory_find(name.encode())]
        version = gst.text(gst.gst_version_string()).rpartition(" ")[2]
        messages.send(FOUND, json.dumps({"version": version, "missing": missing}).encode())
    elif job["do"] == "read":
        read(gst, job["pipeline"], messages, stopped)
    else:
        write(gst, job["pipeline"], messages)
    messages.send(END)


if __name__ == "__main__":
    with contextlib.suppress(BrokenPipeError):
        main(Messages(int(sys.argv[1])))
    # Without the end of the interpreter, during which GStreamer's threads may still run.
    os._exit(0)
