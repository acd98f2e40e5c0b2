"""An RTSP server that is not ours: GStreamer's, with test pictures. It prints its port and serves until its input ends."""

import sys

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import GLib, Gst, GstRtspServer  # noqa: E402

SOURCE = "videotestsrc is-live=true pattern=ball ! video/x-raw,format=I420,width=320,height=240,framerate=15/1"
STREAMS = {
    "/h264": "x264enc key-int-max=15 bframes=0 tune=zerolatency threads=1 speed-preset=ultrafast ! rtph264pay name=pay0 pt=96",
    "/bframes": "x264enc key-int-max=15 bframes=2 b-adapt=false rc-lookahead=4 sync-lookahead=0 threads=1 speed-preset=veryfast"
                " ! video/x-h264,profile=main ! rtph264pay name=pay0 pt=96",
    "/refresh": "x264enc key-int-max=15 intra-refresh=true tune=zerolatency threads=1 speed-preset=ultrafast"
                " ! rtph264pay name=pay0 pt=96 config-interval=1",
    "/h265": "x265enc key-int-max=15 tune=zerolatency speed-preset=ultrafast ! rtph265pay name=pay0 pt=96",
    "/mjpeg": "jpegenc ! rtpjpegpay name=pay0 pt=26",
    "/vp8": "vp8enc deadline=1 ! rtpvp8pay name=pay0 pt=96",
}
AUDIO = "audiotestsrc is-live=true ! audio/x-raw,rate=8000,channels=1 ! mulawenc ! rtppcmupay name=pay1 pt=0"


def main():
    port, protected = sys.argv[1], len(sys.argv) > 2
    Gst.init(None)
    server = GstRtspServer.RTSPServer()
    server.set_address("127.0.0.1")
    server.set_service(port)
    if protected:
        user, password, kind = sys.argv[2:5]
        auth = GstRtspServer.RTSPAuth()
        token = GstRtspServer.RTSPToken()
        token.set_string("media.factory.role", "viewer")
        if kind == "basic":
            auth.add_basic(GstRtspServer.RTSPAuth.make_basic(user, password), token)
        else:
            from gi.repository import GstRtsp

            auth.set_supported_methods(GstRtsp.RTSPAuthMethod.DIGEST)
            auth.add_digest(user, password, token)
        server.set_auth(auth)
    for path, encoder in STREAMS.items():
        factory = GstRtspServer.RTSPMediaFactory()
        factory.set_launch(f"( {SOURCE} ! {encoder} {AUDIO if path == '/h264' else ''} )")
        factory.set_shared(True)
        if protected:
            permissions = GstRtspServer.RTSPPermissions()
            permissions.add_permission_for_role("viewer", "media.factory.access", True)
            permissions.add_permission_for_role("viewer", "media.factory.construct", True)
            factory.set_permissions(permissions)
        server.get_mount_points().add_factory(path, factory)
    if server.attach(None) == 0:
        sys.exit(f"port {port} cannot be used")
    print(server.get_bound_port(), flush=True)
    loop = GLib.MainLoop()
    GLib.io_add_watch(sys.stdin.fileno(), GLib.PRIORITY_DEFAULT, GLib.IO_HUP | GLib.IO_IN, lambda *_: loop.quit())
    loop.run()


main()
