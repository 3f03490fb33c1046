"""An RTSP server (gst-rtsp-server) that plays access units again and again, 25 a second, to everybody alike.

Usage: rtsp_server.py FILE PORT [USER PASSWORD]

FILE holds access units of H.264 with start codes, each after its length (32 bits, big-endian). It says "ready" when it listens, and ends
when its standard input does.
"""
import struct
import sys
import threading

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import GLib, Gst, GstRtspServer  # noqa: E402

LAUNCH = (
    "( appsrc name=src is-live=true format=time block=false"
    " caps=video/x-h264,stream-format=byte-stream,alignment=au,framerate=25/1"
    " ! rtph264pay name=pay0 pt=96 mtu=1200 config-interval=0 )"
)


def units(path):
    data = open(path, "rb").read()
    at = 0
    while at < len(data):
        (size,) = struct.unpack_from(">I", data, at)
        yield data[at + 4 : at + 4 + size]
        at += 4 + size


class Player:
    """Plays to one pipeline, in real time as a camera does."""

    def __init__(self, all_units):
        self.units = all_units

    def configure(self, _factory, media):
        src = media.get_element().get_by_name("src")
        state = {"n": 0, "on": True}
        media.connect("unprepared", lambda _media: state.update(on=False))

        def push():
            n = state["n"]
            buf = Gst.Buffer.new_wrapped(self.units[n % len(self.units)])
            buf.pts = buf.dts = n * Gst.SECOND // 25
            buf.duration = Gst.SECOND // 25
            state["n"] = n + 1
            src.emit("push-buffer", buf)
            return state["on"]

        push()
        GLib.timeout_add(40, push)


def main():
    path, port = sys.argv[1:3]
    Gst.init(None)
    server = GstRtspServer.RTSPServer()
    server.set_address("127.0.0.1")
    server.set_service(port)
    factory = GstRtspServer.RTSPMediaFactory()
    factory.set_launch(LAUNCH)
    factory.set_shared(True)
    player = Player(list(units(path)))
    factory.connect("media-configure", player.configure)
    if len(sys.argv) > 3:
        auth = GstRtspServer.RTSPAuth()
        token = GstRtspServer.RTSPToken()
        token.set_string("media.factory.role", "user")
        auth.add_basic(GstRtspServer.RTSPAuth.make_basic(*sys.argv[3:5]), token)
        server.set_auth(auth)
        permissions = GstRtspServer.RTSPPermissions()
        permissions.add_permission_for_role("user", "media.factory.access", True)
        permissions.add_permission_for_role("user", "media.factory.construct", True)
        factory.set_permissions(permissions)
    server.get_mount_points().add_factory("/door", factory)
    if not server.attach(None):
        sys.exit("cannot listen on port " + port)
    loop = GLib.MainLoop()
    threading.Thread(target=lambda: (sys.stdin.read(), loop.quit()), daemon=True).start()
    print("ready", flush=True)
    loop.run()


main()
