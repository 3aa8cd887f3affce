"""The ceiling for a program in Python: as `ceiling.c`, line for line. `python ceiling.py PORT DIRECTORY SYNC [hashes]`.

`hashes`: it also computes sha256 of what it writes, in the thread that has written it. What that costs is not the rest
of a server.
"""

import hashlib
import itertools
import os
import re
import socket
import sys
import threading

BUFFER = 1024 * 1024
CHECKPOINT = 64 * BUFFER

DIRECTORY, SYNC, HASHES = sys.argv[2], sys.argv[3] == "1", "hashes" in sys.argv
_numbers = itertools.count()


def main() -> None:
    listener = socket.create_server(("127.0.0.1", int(sys.argv[1])), backlog=1024)
    while True:
        threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()


def serve(peer: socket.socket) -> None:
    peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    buffer = bytearray(BUFFER)
    received = b""
    with peer:
        while True:
            while (end := received.find(b"\r\n\r\n")) < 0:
                piece = peer.recv(65536)
                if not piece:
                    return
                received += piece
            head, received = received[:end], received[end + 4 :]
            if head.startswith(b"POST"):
                said = f"201 Created\r\nLocation: /files/{next(_numbers)}\r\nContent-Length: 0"
            else:
                said = receive(peer, head, received, buffer)
                received = b""
            peer.sendall(f"HTTP/1.1 {said}\r\nTus-Resumable: 1.0.0\r\n\r\n".encode())


def receive(peer: socket.socket, head: bytes, first: bytes, buffer: bytearray) -> str:
    name = head.split(b" ", 2)[1].rpartition(b"/")[2].decode()
    length, offset = number(head, b"Content-Length"), number(head, b"Upload-Offset")
    file = os.open(f"{DIRECTORY}/{name}", os.O_WRONLY | os.O_CREAT, 0o666)
    os.pwrite(file, first, offset)
    digest = hashlib.sha256(first)
    done, synced, sync, view = len(first), 0, None, memoryview(buffer)
    while done < length:
        count = peer.recv_into(buffer, min(BUFFER, length - done))
        if not count:
            sys.exit("the body broke off")
        os.pwrite(file, view[:count], offset + done)
        if HASHES:
            digest.update(view[:count])
        done += count
        if SYNC and done - synced >= CHECKPOINT and done < length:
            if sync:
                sync.join()
            sync = threading.Thread(target=os.fdatasync, args=(file,))
            sync.start()
            synced = done
    if sync:
        sync.join()
    if SYNC:
        os.fdatasync(file)
        directory = os.open(DIRECTORY, os.O_RDONLY)
        os.fsync(directory)
        os.close(directory)
    os.close(file)
    return f"204 No Content\r\nUpload-Offset: {offset + length}"


def number(head: bytes, field: bytes) -> int:
    found = re.search(rb"\r\n" + field + rb": *(\d+)", head, re.IGNORECASE)
    assert found is not None, field
    return int(found[1])


if __name__ == "__main__":
    main()
