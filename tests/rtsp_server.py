#!/usr/bin/python3
"""An RTSP server for tests, run as a program of its own: a moving ball in H.264, 320 x 240, 25 frames a second.

    rtsp_server.py PORT [--picture FILE.jpg | --clock h264|h265] [basic|digest USER PASSWORD]

Prints `ready` once it listens. With a user and a password it asks for them; with a picture it shows that; with
`--clock` the time is drawn into each frame (app/tools/soak/stamp.py), and lines of the standard input such as `640x480`
change the size of the frames.
Needs Debian's packages (see `SERVER_PACKAGES` in real_sources.py) and therefore the system's own Python.
"""

import sys
import threading
from pathlib import Path

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstRtsp", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import GLib, Gst, GstRtsp, GstRtspServer  # noqa: E402

BALL = (
    "( videotestsrc is-live=true pattern=ball ! video/x-raw,width=320,height=240,framerate=25/1 ! "
    "x264enc tune=zerolatency speed-preset=ultrafast key-int-max=12 ! h264parse ! "
    "rtph264pay name=pay0 pt=96 config-interval=1 )"
)

STILL = (
    '( filesrc location="{}" ! jpegdec ! imagefreeze is-live=true ! videoconvert ! '
    "video/x-raw,format=I420,framerate=25/1 ! x264enc tune=zerolatency speed-preset=ultrafast key-int-max=12 ! "
    "h264parse ! rtph264pay name=pay0 pt=96 config-interval=1 )"
)

CLOCK = "( appsrc name=clock is-live=true format=time ! {} ! {} name=pay0 pt=96 config-interval=1 )"
ENCODERS = {
    "h264": ("x264enc tune=zerolatency speed-preset=ultrafast key-int-max=12 ! h264parse", "rtph264pay"),
    "h265": ("x265enc tune=zerolatency speed-preset=ultrafast key-int-max=12 ! h265parse", "rtph265pay"),
}
FPS = 25


class Clock:
    """Frames with the time in them; a grey pattern behind it moves."""

    def __init__(self):
        import numpy

        sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
        from app.tools.soak import stamp

        self._numpy, self._stamp = numpy, stamp
        self.size = (320, 240)

    def connect(self, factory, media):
        source = media.get_element().get_by_name_recurse_up("clock")
        state = {"number": 0, "size": None}

        def push():
            if state["size"] != self.size:
                state["size"] = self.size
                width, height = self.size
                caps = f"video/x-raw,format=I420,width={width},height={height},framerate={FPS}/1"
                source.set_property("caps", Gst.Caps.from_string(caps))
            buffer = Gst.Buffer.new_wrapped(self._picture(state["number"]))
            buffer.pts = buffer.dts = state["number"] * Gst.SECOND // FPS
            buffer.duration = Gst.SECOND // FPS
            state["number"] += 1
            return source.emit("push-buffer", buffer) == Gst.FlowReturn.OK

        push()
        GLib.timeout_add(1000 // FPS, push)

    def _picture(self, number):
        width, height = self.size
        numpy = self._numpy
        ramp = (numpy.arange(width) * 2 + number * 4) % 256
        grey = numpy.repeat(ramp[None].astype(numpy.uint8), height, axis=0)
        self._stamp.draw_stamp(grey, self._stamp.now_ms())
        return grey.tobytes() + bytes([128]) * (width * height // 2)

    def obey(self):
        for line in sys.stdin:
            self.size = tuple(map(int, line.split("x")))


def ask_for_password(server, factory, method, user, password):
    auth = GstRtspServer.RTSPAuth()
    auth.set_supported_methods(getattr(GstRtsp.RTSPAuthMethod, method.upper()))
    token = GstRtspServer.RTSPToken()
    token.set_string("media.factory.role", "user")
    if method == "basic":
        auth.add_basic(GstRtspServer.RTSPAuth.make_basic(user, password), token)
    else:
        auth.add_digest(user, password, token)
    server.set_auth(auth)
    permissions = GstRtspServer.RTSPPermissions()
    permissions.add_permission_for_role("user", "media.factory.access", True)
    permissions.add_permission_for_role("user", "media.factory.construct", True)
    factory.set_permissions(permissions)


def main(port, *words):
    Gst.init(None)
    picture = words[1] if words[:1] == ("--picture",) else None
    codec = words[1] if words[:1] == ("--clock",) else None
    credentials = words[2:] if picture or codec else words
    server = GstRtspServer.RTSPServer()
    server.set_address("127.0.0.1")
    server.set_service(port)
    factory = GstRtspServer.RTSPMediaFactory()
    factory.set_shared(True)
    factory.set_launch(CLOCK.format(*ENCODERS[codec]) if codec else STILL.format(picture) if picture else BALL)
    if codec:
        clock = Clock()
        factory.connect("media-configure", clock.connect)
        threading.Thread(target=clock.obey, daemon=True).start()
    if credentials:
        ask_for_password(server, factory, *credentials)
    server.get_mount_points().add_factory("/cam", factory)
    if server.attach(None) == 0:
        sys.exit(f"cannot listen on port {port}")
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    GLib.MainLoop().run()


if __name__ == "__main__":
    main(*sys.argv[1:])
