"""TUS as a client speaks it, over the connections of `connection.py`.

Rules: nothing here knows which server it speaks to. What was uploaded is written down as `Upload`, so that it can be
compared with what the server has stored.
"""

import base64
import itertools
import time
from dataclasses import dataclass
from urllib.parse import urlsplit

from bench.connection import PATIENCE_SECONDS, Answer, Connection, Wrong, request
from bench.content import Content

PATCH_TYPE = "Content-Type: application/offset+octet-stream"
_numbers = itertools.count()


@dataclass(frozen=True, slots=True)
class Upload:
    target: str
    """the path of its URL"""
    name: str
    """the file name that was asked for"""
    size: int
    begin: int = 0
    """where its first byte stands in the content"""


def fresh_name(kind: str) -> str:
    return f"{kind}-{next(_numbers)}.bin"


def creation(target: str, host: str, name: str, size: int | None, *more: str) -> bytes:
    fields = [f"Upload-Metadata: filename {base64.b64encode(name.encode()).decode()}", *more]
    if size is not None:
        fields.append(f"Upload-Length: {size}")
    return request("POST", target, host, *fields, length=0)


def path_of(location: str) -> str:
    return urlsplit(location).path if "://" in location else location


class Client:
    """One connection to one server; `url` is where uploads are created."""

    def __init__(self, url: str, content: Content) -> None:
        self.connection = Connection(url)
        self._host = self.connection.host
        self._collection = urlsplit(url).path
        self._content = content

    def extensions(self) -> list[str]:
        answer = self.connection.ask(request("OPTIONS", self._collection, self._host), expected=None)
        return answer.fields.get("tus-extension", "").replace(" ", "").split(",")

    def create(self, name: str, size: int | None, *more: str, begin: int = 0) -> Upload:
        answer = self.connection.ask(creation(self._collection, self._host, name, size, *more), expected=201)
        return Upload(path_of(answer.fields["location"]), name, size or 0, begin)

    def patch(self, upload: Upload, offset: int, length: int) -> Answer:
        self.begin_patch(upload, offset, length)
        self.send_part(upload, offset, length)
        return self.end_patch(upload, offset, length)

    def begin_patch(self, upload: Upload, offset: int, length: int) -> None:
        fields = (PATCH_TYPE, f"Upload-Offset: {offset}")
        self.connection.begin(request("PATCH", upload.target, self._host, *fields, length=length))

    def send_part(self, upload: Upload, offset: int, length: int) -> None:
        self.connection.send(self._content, upload.begin + offset, length)

    def end_patch(self, upload: Upload, offset: int, length: int) -> Answer:
        return self.connection.answer(expected=204).expect("upload-offset", str(offset + length))

    def send(self, upload: Upload, piece: int = 0) -> Answer:
        """All of it, in one PATCH or in pieces of so many bytes; the last answer."""
        step = piece or upload.size
        answers = [self.patch(upload, at, min(step, upload.size - at)) for at in range(0, upload.size, step)]
        return answers[-1]

    def head(self, upload: Upload) -> Answer:
        return self.connection.ask(request("HEAD", upload.target, self._host), expected=200)

    def wait_for(self, upload: Upload) -> None:
        """Until HEAD says that all of it is there."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        head = request("HEAD", upload.target, self._host)
        while True:
            answer = self.connection.ask(head, expected=None)
            if answer.status == 200 and answer.fields.get("upload-offset") == str(upload.size):
                return
            if answer.status not in (200, 423) or time.monotonic() > deadline:
                raise Wrong(f"HEAD: {answer.status}, Upload-Offset {answer.fields.get('upload-offset')}")
            time.sleep(0.01)

    def close(self) -> None:
        self.connection.close()
