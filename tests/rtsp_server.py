#!/usr/bin/python3
"""An RTSP server for tests, run as a program of its own: a moving ball in H.264, 320 x 240, 25 frames a second.

    rtsp_server.py PORT [--picture FILE.jpg] [basic|digest USER PASSWORD]

Prints `ready` once it listens. With a user and a password it asks for them; with a picture it shows that.
Needs Debian's packages (see `SERVER_PACKAGES` in real_sources.py) and therefore the system's own Python.
"""

import sys

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
    credentials = words[2:] if picture else words
    server = GstRtspServer.RTSPServer()
    server.set_address("127.0.0.1")
    server.set_service(port)
    factory = GstRtspServer.RTSPMediaFactory()
    factory.set_shared(True)
    factory.set_launch(STILL.format(picture) if picture else BALL)
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
