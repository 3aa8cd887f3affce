"""One connection to the service, for requests as they should be and for bytes that are none.

Rules: everything has a deadline; no answer in time is a hang, and fails. An answer is read by the standard library's
own parser, which is not the service's.
"""

import http.client
import io
import re
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from multidict import CIMultiDict

DEADLINE_SECONDS = 20.0

# aiohttp answers a version that there never was by its own name.
STATUS = re.compile(rb"HTTP/[0-9]\.[0-9] ([0-9]{3}) ")


@dataclass(frozen=True)
class Request:
    method: str
    path: str
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | None = None
    chunked: bool = False
    pieces: int = 1
    """in how many goes the body is sent"""
    again: Sequence[tuple[str, str]] = ()
    """fields that are there besides, also under a name that is there already"""

    def head(self, announced: int | None = None) -> bytes:
        framing: dict[str, str] = {}
        if announced is not None:
            framing = {"Content-Length": str(announced)}
        elif self.body is not None:
            framing = {"Transfer-Encoding": "chunked"} if self.chunked else {"Content-Length": str(len(self.body))}
        fields = [*{"Host": "fuzz", **self.headers, **framing}.items(), *self.again]
        lines = [f"{name}: {value}" for name, value in fields]
        return "\r\n".join([f"{self.method} {self.path} HTTP/1.1", *lines, "", ""]).encode()

    def sent(self) -> list[bytes]:
        """The body as it goes over the wire."""
        if self.body is None:
            return []
        body = self.body
        step = max(1, -(-len(body) // self.pieces))
        parts = [body[start : start + step] for start in range(0, len(body), step)]
        if not self.chunked:
            return parts
        return [b"%x\r\n%b\r\n" % (len(part), part) for part in parts] + [b"0\r\n\r\n"]


@dataclass(frozen=True)
class Answer:
    status: int
    headers: CIMultiDict[str]
    body: bytes
    interim: tuple[int, ...] = ()
    """the offsets that were promised on the way, in 104 (Upload Resumption Supported)"""

    @property
    def offset(self) -> int:
        return int(self.headers["Upload-Offset"])


class _Kept(io.BufferedReader):
    """What was read ahead belongs to the next answer; so the end of one must not close it."""

    def makefile(self, mode: str) -> "_Kept":
        """As a socket has it, for `HTTPResponse`."""
        return self

    def close(self) -> None:
        pass


class Connection:
    """Kept from one request to the next, as long as the service keeps it."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._socket: socket.socket | None = None
        self._heard: _Kept | None = None

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = self._heard = None

    def ask(self, request: Request) -> Answer:
        return self.ask_all(request)[0]

    def ask_all(self, *requests: Request) -> list[Answer]:
        """All of them are sent before the first answer is read; fewer answers where one of them was the last."""
        if self._socket is None or self._heard is None:
            self._socket = self._connect()
            self._heard = _Kept(socket.SocketIO(self._socket, "r"))
        try:
            for request in requests:
                for part in (request.head(), *request.sent()):
                    self._socket.sendall(part)
        except (BrokenPipeError, ConnectionResetError):
            pass  # it may have answered before the end, and that is to be read
        answers: list[Answer] = []
        for request in requests:
            if self._heard is not None:
                answers.append(self._read(self._heard, request))
        return answers

    def _read(self, heard: _Kept, request: Request) -> Answer:
        answer = http.client.HTTPResponse(heard, method=request.method)  # type: ignore[arg-type] # it asks for no more
        interim = []
        try:
            answer.begin()
            while answer.status < 200:
                interim += [int(text) for name, text in answer.getheaders() if name.lower() == "upload-offset"]
                answer.headers = None  # type: ignore[assignment] # http.client passes over 100 itself, and no other
                answer.begin()
            body = answer.read()
        except TimeoutError:
            raise AssertionError(f"no answer to {request} in {DEADLINE_SECONDS:.0f} s") from None
        finally:
            answer.close()
        if answer.will_close:
            self.close()
        return Answer(answer.status, CIMultiDict(answer.getheaders()), body, tuple(interim))

    def break_off(self, request: Request, announced: int) -> None:
        """Announce more than is sent, send what there is, and hang up."""
        with self._connect() as other:
            other.sendall(request.head(announced))
            for part in request.sent():
                other.sendall(part)

    def throw(self, data: bytes) -> list[int]:
        """Anything at all, and the end; the statuses of what comes back, until the service hangs up as well."""
        with self._connect() as other:
            try:
                other.sendall(data)
                other.shutdown(socket.SHUT_WR)
            except OSError:
                pass  # it has seen enough
            heard = b""
            try:
                while piece := other.recv(65536):
                    heard += piece
            except ConnectionResetError:
                pass  # it has hung up on what it had not read
            except TimeoutError:
                raise AssertionError(f"neither an answer nor an end to {data!r}") from None
        assert not heard or STATUS.match(heard), heard[:200]
        return [int(status) for status in STATUS.findall(heard)]

    def _connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self._port), DEADLINE_SECONDS)
