"""One kept-alive HTTP connection, as cheap as Python can: a blocking socket, and sendfile for the bodies.

Rules: one request at a time. Whatever is not the status that was hoped for is `Wrong`, with what came: a server that
refuses is not a fast one. Time is taken when the kernel has the last byte of a request, and when the answer is whole.
"""

import socket
import struct
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from urllib.parse import urlsplit

from bench.content import Content

PATIENCE_SECONDS = 300
HEAD_BYTES_MAX = 64 * 1024
SAID_MAX = 300


class Wrong(Exception):
    """An answer that was not hoped for, or none."""


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    fields: Mapping[str, str]
    """names in small letters"""
    sent_at: float
    """when the kernel had the last byte of the request"""
    answered_at: float

    def expect(self, field: str, value: str) -> "Answer":
        if self.fields.get(field) != value:
            raise Wrong(f"{field} is {self.fields.get(field)} instead of {value}")
        return self


class Connection:
    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        assert parts.hostname is not None and parts.port is not None, url
        self.host = f"{parts.hostname}:{parts.port}"
        self._asked = b""
        self._socket = socket.socket()
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        _send_without_pauses(self._socket)
        # Not settimeout, which would make the socket a non-blocking one with a poll before each call.
        for option in (socket.SO_RCVTIMEO, socket.SO_SNDTIMEO):
            self._socket.setsockopt(socket.SOL_SOCKET, option, struct.pack("ll", PATIENCE_SECONDS, 0))
        self._socket.connect((parts.hostname, parts.port))

    def ask(self, head: bytes, *, expected: int | None) -> Answer:
        """A request without a body; None: whatever the status."""
        self._asked = head
        self._do(lambda: self._socket.sendall(head))
        return self.answer(expected=expected)

    def begin(self, head: bytes) -> None:
        """The head of a request whose body follows by `send`, and whose answer is had by `answer`."""
        self._asked = head
        self._do(lambda: self._socket.sendall(head, socket.MSG_MORE))

    def send(self, content: Content, offset: int, length: int) -> None:
        def send() -> None:
            done = 0
            while done < length:
                done += content.send(self._socket.fileno(), offset + done, length - done)

        self._do(send)

    def answer(self, *, expected: int | None) -> Answer:
        sent_at = time.perf_counter()
        try:
            status, fields, said = self._receive()
        except OSError as error:
            raise Wrong(f"{self._first_line()}: {error}") from None
        if expected not in (None, status):
            raise Wrong(f"{self._first_line()}: {status} instead of {expected}: {said[:SAID_MAX].decode('latin-1')}")
        return Answer(status, fields, sent_at, time.perf_counter())

    def _do(self, work: Callable[[], object]) -> None:
        try:
            work()
        except OSError as error:
            raise Wrong(f"{self._first_line()}: {self._last_words() or error}") from None

    def _last_words(self) -> str:
        """A server that refuses early closes; what it has said before that tells more than a broken pipe."""
        try:
            status, _, said = self._receive()
        except (OSError, Wrong):
            return ""
        return f"{status} before all was sent: {said[:SAID_MAX].decode('latin-1')}"

    def _first_line(self) -> str:
        return self._asked.partition(b"\r\n")[0].decode("latin-1")

    def _receive(self) -> tuple[int, dict[str, str], bytes]:
        received = b""
        while True:
            while (end := received.find(b"\r\n\r\n")) < 0:
                received += self._more()
            status, fields = parse_head(received[:end])
            received = received[end + 4 :]
            if status >= 200:
                break
        if self._asked.startswith(b"HEAD ") or status == 204:
            return status, fields, b""
        if fields.get("transfer-encoding") == "chunked":
            while not received.endswith(b"0\r\n\r\n"):
                received += self._more()
        while len(received) < int(fields.get("content-length", 0)):
            received += self._more()
        return status, fields, received

    def _more(self) -> bytes:
        piece = self._socket.recv(HEAD_BYTES_MAX)
        if not piece:
            raise Wrong("the server closed the connection")
        return piece

    def close(self) -> None:
        self._socket.close()


def _send_without_pauses(connection: socket.socket) -> None:
    """Some kernels send by BBR, which spaces out what it sends by what it believes the way to be like. On loopback that
    belief is made of the receiver's own pauses, and its timers would be measured. To be said before the connection is
    made; a kernel that has nothing else keeps what it has."""
    with suppress(OSError):
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, b"cubic")


def request(method: str, target: str, host: str, *fields: str, length: int | None = None) -> bytes:
    """The head of a TUS request."""
    lines = [f"{method} {target} HTTP/1.1", f"Host: {host}", "Tus-Resumable: 1.0.0", *fields]
    if length is not None:
        lines.append(f"Content-Length: {length}")
    return ("\r\n".join(lines) + "\r\n\r\n").encode("ascii")


def parse_head(head: bytes) -> tuple[int, dict[str, str]]:
    first, *lines = head.decode("latin-1").split("\r\n")
    pairs = (line.partition(":") for line in lines)
    return int(first.split(" ", 2)[1]), {name.lower(): value.strip() for name, _, value in pairs}
