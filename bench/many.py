"""Many small uploads at a time, by one thread and epoll: W4.

Rules: each connection makes an upload after the other, a POST and a PATCH, and never waits for another connection. The
answers are looked at only as far as is needed to know that they are right; the files are compared afterwards.
"""

import select
import socket
import time
from urllib.parse import urlsplit

from bench.connection import Wrong, request
from bench.plan import Load, Plan, elapsed
from bench.uploads import PATCH_TYPE, Upload, creation, fresh_name, path_of

SILENCE_SECONDS = 60


class _Small:
    """One connection and the upload it has under way."""

    def __init__(self, plan: Plan) -> None:
        parts = urlsplit(plan.urls[0])
        assert parts.hostname is not None and parts.port is not None, plan.urls
        self._host, self._collection = f"{parts.hostname}:{parts.port}", parts.path
        self._content, self._size = plan.content, plan.size
        self.socket = socket.create_connection((parts.hostname, parts.port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._received = b""
        self._made: Upload | None = None
        self._name, self._begin, self._begun = "", 0, 0.0

    def begin(self, number: int) -> None:
        self._name, self._begin, self._made = fresh_name("small"), number * self._size, None
        self._begun = time.perf_counter()
        self.socket.sendall(creation(self._collection, self._host, self._name, self._size))

    def hear(self) -> tuple[Upload, float] | None:
        """What has come; a whole upload and its time when that was the end of it."""
        piece = self.socket.recv(65536)
        if not piece:
            raise Wrong("the server closed the connection")
        self._received += piece
        end = self._received.find(b"\r\n\r\n")
        if end < 0:
            return None
        head = self._received[:end].lower()
        length = _field(head, b"content-length")
        if len(self._received) < end + 4 + int(length or 0):
            return None
        status, original, self._received = int(head[9:12]), self._received[:end], b""
        if self._made is None:
            self._create(status, original)
            return None
        if status != 204:
            raise Wrong(f"PATCH: {status} instead of 204")
        return self._made, time.perf_counter() - self._begun

    def _create(self, status: int, head: bytes) -> None:
        location = _field(head, b"location")
        if status != 201 or location is None:
            raise Wrong(f"POST: {status} instead of 201 and a Location")
        self._made = made = Upload(path_of(location.decode("ascii")), self._name, self._size, self._begin)
        patch = request("PATCH", made.target, self._host, PATCH_TYPE, "Upload-Offset: 0", length=self._size)
        self.socket.sendall(patch + self._content.read(self._begin, self._size))


def _field(head: bytes, name: bytes) -> bytes | None:
    """A field's value, whatever case its name is spelled in."""
    at = head.lower().find(b"\r\n" + name + b":")
    if at < 0:
        return None
    return head[at + len(name) + 3 :].partition(b"\r\n")[0].strip()


def small(plan: Plan) -> Load:
    """`count` at a time for so many seconds; what is under way then is finished and counted. W4."""
    uploads: list[Upload] = []
    times: list[float] = []
    poll = select.epoll()
    under_way = {one.socket.fileno(): one for one in (_Small(plan) for _ in range(plan.count))}
    begun_at = time.perf_counter()
    for number, (descriptor, one) in enumerate(under_way.items()):
        poll.register(descriptor, select.EPOLLIN)
        one.begin(number)
    begun = plan.count
    while under_way:
        ready = poll.poll(SILENCE_SECONDS)
        if not ready:
            raise Wrong(f"no answer for {SILENCE_SECONDS} s")
        for descriptor, _ in ready:
            one = under_way[descriptor]
            done = one.hear()
            if done is None:
                continue
            uploads.append(done[0])
            times.append(done[1])
            if elapsed(begun_at) < plan.seconds:
                one.begin(begun)
                begun += 1
            else:
                poll.unregister(descriptor)
                under_way.pop(descriptor).socket.close()
    return Load(elapsed(begun_at), 2 * len(uploads), uploads, {"upload": times})
