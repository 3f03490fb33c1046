"""The camera: an RTSP server as Debian has it (gst-rtsp-server), which plays a recorded scene over and over, 25 pictures a second, to
everybody who asks, or who has the password.

Usage: camera.py FILE PORT PATH [USER:PASSWORD METHOD]

FILE is H.264 with access unit delimiters (Annex B), METHOD how the password is asked for: Basic or Digest.
"""
import sys

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstRtsp", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import GLib, Gst, GstRtsp, GstRtspServer  # noqa: E402

DELIMITER = b"\x00\x00\x00\x01\x09"
LAUNCH = (
    "( appsrc name=src is-live=true format=time block=false"
    " caps=video/x-h264,stream-format=byte-stream,alignment=au,framerate=25/1"
    " ! rtph264pay name=pay0 pt=96 mtu=1200 config-interval=-1 )"
)


def film(units):
    """Returns what plays to a pipeline, in real time as a camera does."""

    def configure(_factory, media):
        src = media.get_element().get_by_name("src")
        state = {"n": 0, "on": True}
        media.connect("unprepared", lambda _media: state.update(on=False))

        def push():
            n = state["n"]
            buf = Gst.Buffer.new_wrapped(units[n % len(units)])
            buf.pts = buf.dts = n * Gst.SECOND // 25
            buf.duration = Gst.SECOND // 25
            state["n"] = n + 1
            src.emit("push-buffer", buf)
            return state["on"]

        push()
        GLib.timeout_add(40, push)

    return configure


def protect(server, factory, login, method):
    """Has the server ask for a password."""
    user, password = login.split(":")
    token = GstRtspServer.RTSPToken()
    token.set_string(GstRtspServer.RTSP_TOKEN_MEDIA_FACTORY_ROLE, "viewer")
    auth = GstRtspServer.RTSPAuth()
    auth.set_supported_methods(getattr(GstRtsp.RTSPAuthMethod, method.upper()))
    if method == "Basic":
        auth.add_basic(GstRtspServer.RTSPAuth.make_basic(user, password), token)
    else:
        auth.add_digest(user, password, token)
    server.set_auth(auth)
    allowed = GstRtspServer.RTSPPermissions()
    for permission in (GstRtspServer.RTSP_PERM_MEDIA_FACTORY_ACCESS, GstRtspServer.RTSP_PERM_MEDIA_FACTORY_CONSTRUCT):
        allowed.add_permission_for_role("viewer", permission, True)
    factory.set_permissions(allowed)


def main():
    path, port, mount, *login = sys.argv[1:]
    with open(path, "rb") as f:
        units = [DELIMITER + u for u in f.read().split(DELIMITER)[1:]]
    Gst.init(None)
    server = GstRtspServer.RTSPServer()
    server.set_service(port)
    factory = GstRtspServer.RTSPMediaFactory()
    factory.set_launch(LAUNCH)
    factory.set_shared(False)  # else one viewer that is gone without a word holds up the others, until its connection is given up
    factory.connect("media-configure", film(units))
    if login:
        protect(server, factory, *login)
    server.get_mount_points().add_factory(mount, factory)
    if not server.attach(None):
        sys.exit(f"cannot listen on port {port}")
    print("listens", flush=True)
    GLib.MainLoop().run()


main()
