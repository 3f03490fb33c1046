"""A bug that cameras have had (CVE-2014-4879: the RTSP server of a recorder copies a request's head to a buffer of 1 KiB on its stack): a longer
head ends the camera. Everything else is passed on to the server behind.

Usage: fragile.py PORT BEHIND
"""
import os
import socket
import sys
import threading

BUFFER = 1024


def requests(client, server):
    """Passes on what a client says, requests by their heads."""
    head = b""
    while chunk := client.recv(4096):
        head = b"" if chunk[:1] == b"$" and not head else head + chunk  # interleaved data has no head
        while b"\r\n\r\n" in head:
            head = head.partition(b"\r\n\r\n")[2]
        if len(head) > BUFFER or len(chunk) > BUFFER:
            os.kill(0, 9)  # the group: the server behind is in the same process, in a camera
        server.sendall(chunk)


def pass_on(copy, *ends):
    try:
        copy(*ends)
    except OSError:
        pass
    for s in ends:
        try:
            s.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass


def answers(server, client):
    while chunk := server.recv(65536):
        client.sendall(chunk)


def main():
    port, behind = map(int, sys.argv[1:])
    with socket.create_server(("", port), backlog=64) as listener:
        print("listens", flush=True)
        while True:
            client, _ = listener.accept()
            server = socket.create_connection(("127.0.0.1", behind))
            threading.Thread(target=pass_on, args=(requests, client, server), daemon=True).start()
            threading.Thread(target=pass_on, args=(answers, server, client), daemon=True).start()


main()
