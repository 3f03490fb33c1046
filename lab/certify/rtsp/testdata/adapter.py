#!/usr/bin/python3
"""Adapter of a camera of the traditional kind: what its owner's viewer is. CONTRACT.md describes the environment.

The camera is a box on a cable, whose owner has forwarded its port; there is no server and no relay. The viewer is ffmpeg. The ticket is
where the router takes connections for the camera: ADDRESS:PORT.

Usage: adapter.py [USER:PASSWORD [Digest]]

The password is what its owner has typed into the viewer; with Digest nobody is told it who asks for another proof.
"""
import json
import os
import re
import select
import signal
import socket
import subprocess
import sys
import threading
import time

UNSUPPORTED = 127
CASES = re.compile(r"ID-[1-6]|REG-[1-6]|NAT-([1-9]|10)|MED-[1-8]|BW-[1-6]|SEC-([1-9]|1[0-2])|RES-[1-5]|STD-[1-3]")


SILENCE = 8  # seconds without a picture after which the viewer gives up: less than the declared recovery, so that its user can ask anew


def lines(pipe):
    """What a program prints, line by line as it does, until it has ended, or says nothing for too long after its header."""
    rest, patience = b"", None
    while select.select([pipe], [], [], patience)[0] and (chunk := os.read(pipe.fileno(), 65536)):
        *whole, rest = (rest + chunk).split(b"\n")
        if any(line[:1] != b"#" for line in whole):
            patience = SILENCE
        yield from whole


def guarded(ticket):
    """A place on this host that leads to the camera, unless whoever is there asks for a password by Basic authentication. Returns it."""
    listener = socket.create_server(("127.0.0.1", 0))

    def copy(source, sink):
        try:
            while (chunk := source.recv(65536)) and b"basic realm" not in chunk.lower():
                sink.sendall(chunk)
            sink.shutdown(socket.SHUT_RDWR)
            source.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass  # one of them is gone: so is the other, soon

    def lead():
        viewer, _ = listener.accept()
        host, _, port = ticket.rpartition(":")
        with viewer, socket.create_connection((host, int(port)), 10) as camera:
            camera.settimeout(None)
            threading.Thread(target=copy, args=(viewer, camera), daemon=True).start()
            copy(camera, viewer)

    threading.Thread(target=lead, daemon=True).start()
    return "127.0.0.1:%d" % listener.getsockname()[1]


def watch(ticket, login, seconds, frames):
    """Writes a line for each access unit as it comes, until so many seconds after the first one. Returns how many came."""
    url = f"rtsp://{login}{ticket}/stream"
    ffmpeg = subprocess.Popen(
        ["ffmpeg", "-nostdin", "-v", "error", "-fflags", "nobuffer", "-probesize", "32", "-analyzeduration", "0", "-timeout", "10000000",
         "-rtsp_transport", "tcp", "-i", url, "-map", "0:v:0", "-c", "copy", "-flush_packets", "1", "-f", "framehash", "-hash", "sha256", "-"],
        stdout=subprocess.PIPE)
    signal.signal(signal.SIGTERM, lambda *_: ffmpeg.kill())
    n, first = 0, None
    with open(frames, "w", buffering=1) as out:
        for line in lines(ffmpeg.stdout):
            if line.startswith(b"#"):
                continue
            now = time.time()  # stream, DTS, PTS, duration, size, hash
            fields = [f.strip() for f in line.decode().split(",")]
            n += 1
            out.write(json.dumps({"n": n, "t": now, "size": int(fields[4]), "sha256": fields[5]}) + "\n")
            first = first or now
            if now - first >= seconds:
                break
    ffmpeg.kill()
    ffmpeg.wait()
    return n


def main():
    env = os.environ
    if not CASES.fullmatch(env["PUNCHLAB_CASE"]) or (env["PUNCHLAB_ROLE"], env["PUNCHLAB_ACTION"]) != ("viewer", "run"):
        return UNSUPPORTED
    with open(env["PUNCHLAB_TICKET"]) as f:
        ticket = f.read().strip()
    login = "".join(f"{arg}@" for arg in sys.argv[1:2])
    if sys.argv[2:]:
        ticket = guarded(ticket)
    n = watch(ticket, login, float(env["PUNCHLAB_MEDIA"]), os.path.join(env["PUNCHLAB_RESULT"], "frames.jsonl"))
    return 0 if n else 1


sys.exit(main())
