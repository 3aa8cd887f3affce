"""What no client would send: headers with anything in them, framing that contradicts itself, bytes that are no HTTP.

Where many values are possible the ones stand here that have broken servers: the empty one, the largest, one more than
that, another script's digits, what ends a line early, what climbs out of a directory.
"""

from base64 import b64encode
from collections.abc import Sequence
from typing import TypeVar

from hypothesis import strategies as st

T = TypeVar("T")

NUMBERS = [
    "",
    "0",
    "1",
    "-1",
    "+1",
    "00",
    "1.0",
    "0x10",
    "1_0",
    "\uff19",
    "1e3",
    " 5 ",
    str(2**63 - 1),
    str(2**63),
    "9" * 5000,
]

PATHS_THAT_CLIMB = [
    *("..", "../neighbour.txt", "a/../../neighbour.txt", "/etc/passwd", "//host/share", "a//b", "a/./b", ".", "", "/"),
    *(".uploads/x", ".UPLOADS/x", ".uploads", "a\\..\\..\\b", "a\0b", "a\nb", "a\r\nX-Header: b", "x" * 256, "é" * 200),
    *(
        "d/" * 2500 + "x",
        "con",
        "~",
        "~root/x",
        "%2e%2e/x",
        "..%2f..%2fx",
        "\u202etxt.exe",
        "\ud800",
        "a/",
        " ",
        "*",
        "?",
    ),
]

NOWHERE = "main." + "0" * 32

HEADERS = {
    "Tus-Resumable": ["1.0.0", "1.0.0", "1.0.0", "0.2.2", "", "1.0.0, 1.0.0"],
    "Upload-Offset": NUMBERS,
    "Upload-Length": NUMBERS,
    "Upload-Defer-Length": ["1", *NUMBERS],
    "Upload-Metadata": ["filename", "filename !", "a QQ==,a QQ==", ",", "a " * 4000, "é QQ==", "a QQ=", "a QR=="],
    "Upload-Checksum": [
        "sha1",
        "sha1 ",
        "sha1 AAAA",
        "SHA1 " + "A" * 27 + "=",
        "crc32 AAAAAA==",
        "md5 \xff",
        "x" * 5000,
    ],
    "Upload-Order": ["any", "sequential", "ANY", "", "any, any"],
    "Upload-Concat": [
        "partial",
        "partial;",
        "final;",
        "final; ",
        f"final;/files/{NOWHERE}",
        f"final;/files/{NOWHERE} " * 501,
        "final;http://[::1 /files/x",
        "final;/files/%2e%2e/x //files/x ?x #x",
        "FINAL;\xff",
    ],
    "Repr-Digest": [
        f"sha-256=:{'A' * 43}=:",
        f"sha-256=:{'A' * 42}B=:",
        "sha-256=:AAAA:",
        "sha-256",
        "sha-512=:\xff:",
        "unixsum=5",
        "=",
        "sha-256=@99999999999999",
        "a=(" * 900,
    ],
    "Idempotency-Key": ['"0123456789abcdef"', '"short"', "token", "?1", '"' + "k" * 256 + '"', '"\\', '"a";b=c'],
    "Upload-Complete": ["?1", "?0", "?1;a=b", "?2", "1", "?", "?1, ?0", ""],
    "Upload-Incomplete": ["?0", "?1", "true", "?1;", ""],
    "Upload-Draft-Interop-Version": [
        *(str(version) for version in range(2, 11)),
        "-6",
        "6.0",
        '"6"',
        "1" * 16,
        "?1",
        "",
    ],
    "Content-Disposition": [
        'attachment; filename="x"',
        "inline; filename=\"../../x\"; filename*=UTF-8''..%2f..%2fy",
        "attachment; filename*=UTF-8''%ff%00",
        "attachment; filename*=utf-9'x'y; filename",
        'a; filename="\\"',
        ";" * 2000,
    ],
    "Content-Type": [
        "application/offset+octet-stream",
        "application/offset+octet-stream; x=y",
        "application/partial-upload",
        "text/plain",
        ";",
        "",
    ],
    "Content-Encoding": ["identity", "gzip", "br", ""],
    "X-HTTP-Method-Override": ["PATCH", "patch", "HEAD", "GET", "OPTIONS", "PROPFIND", "", "\u0131", "PATCH\t"],
    "Expect": ["100-continue", "200-maybe", ""],
    "Range": [
        "bytes=0-0",
        "bytes=-1",
        "bytes=5-1",
        "bytes=99999999999999999999-",
        "bytes=0-0,2-2",
        "lines=1-2",
        "bytes=-",
    ],
    "If-Range": ['"x"', "x", "Sun, 06 Nov 1994 08:49:37 GMT"],
    "If-None-Match": ["*", '"x"', "W/", ","],
    "Origin": ["null", "http://a.example", "\xff"],
    "Access-Control-Request-Method": ["PATCH", ""],
    "Host": ["", "a b", "evil.example:99999", "[::1"],
    "X-Forwarded-Prefix": ["/x", "//x", "/../x"],
    "Connection": ["close", "keep-alive", "upgrade", "Upload-Offset"],
    "Upgrade": ["websocket", "h2c"],
    "Authorization": ["Bearer", "Bearer x", "Basic !"],
    "Cookie": ["a=b", "a=\x80"],
}


def picked(values: Sequence[T]) -> st.SearchStrategy[T]:
    """One of them; hypothesis prints `sampled_from` with all of its values, and some here are long."""
    return st.integers(0, len(values) - 1).map(lambda index: values[index])


TEXT = st.text(st.characters(codec="latin-1", exclude_characters="\r\n"), max_size=40)


@st.composite
def header_lines(draw: st.DrawFn) -> list[str]:
    names = draw(st.lists(st.sampled_from(sorted(HEADERS)), max_size=8))
    lines = [f"{name}: {draw(st.sampled_from(HEADERS[name]) | TEXT)}" for name in names]
    return [*lines, *draw(st.lists(TEXT, max_size=1))]


FRAMINGS = [
    *([], ["Content-Length: 5"], ["Content-Length: 5", "Content-Length: 6"], ["Content-Length: -1"]),
    *(
        ["Content-Length: 5", "Transfer-Encoding: chunked"],
        ["Transfer-Encoding: gzip, chunked"],
        ["Content-Length: \uff15"],
    ),
    *(["Transfer-Encoding: chunked"], ["Transfer-Encoding: identity"], ["Transfer-Encoding: chunked, chunked"]),
    *(["Content-Length: 99999999999999999999999"], ["Content-Length: 5,5"], ["Transfer-Encoding : chunked"]),
]
BODIES = [
    *(
        b"",
        b"abcde",
        b"ab",
        b"abcdefgh",
        b"5\r\nabcde\r\n0\r\n\r\n",
        b"5;x=y\r\nabcde\r\n0\r\nTrailer: x\r\n\r\n",
        b"\0" * 999,
    ),
    *(
        b"FFFFFFFFFFFFFFFFFF\r\nabc",
        b"-1\r\nabc\r\n",
        b"5\nabcde\n0\n\n",
        b"5\r\nabcdefg\r\n",
        b"x" * 70_000,
        b"5\r\nab",
    ),
]
METHODS = ["GET", "HEAD", "POST", "PATCH", "PUT", "OPTIONS", "TRACE", "PROPFIND", "get", "P\xc3\x84TCH", "CONNECT", ""]
VERSIONS = ["HTTP/1.1", "HTTP/1.1", "HTTP/1.1", "HTTP/1.0", "HTTP/2.0", "HTTP/9.9", "http/1.1", ""]


class Thrown(bytes):
    """Printed only as far as anybody reads."""

    def __repr__(self) -> str:
        shown = super().__repr__()
        return shown if len(shown) < 600 else f"{shown[:600]}... ({len(self)} bytes)"


@st.composite
def requests(draw: st.DrawFn, paths: st.SearchStrategy[str]) -> bytes:
    """Nearly a request."""
    first = f"{draw(st.sampled_from(METHODS))} {draw(paths)} {draw(st.sampled_from(VERSIONS))}"
    host = [] if draw(st.booleans()) else ["Host: fuzz"]
    lines = [first, *host, *draw(header_lines()), *draw(st.sampled_from(FRAMINGS))]
    end = draw(st.sampled_from(["\r\n", "\r\n", "\r\n", "\n"]))
    head = end.join([*lines, "", ""]).encode("utf-8", "surrogateescape")
    return Thrown(head + draw(picked(BODIES)) * draw(st.integers(1, 2)))


PATHS = [
    *(
        "/files",
        "/files/",
        "/files//",
        f"/files/{NOWHERE}",
        f"/files/{NOWHERE}/status",
        "/files/x",
        "/",
        "*",
        "",
        "/..;/",
    ),
    *("/files/..%2f..%2fetc%2fpasswd", "/files/main.%00", "/files/../upload", "/upload", "/upload?token=x.y.z", "/%ff"),
    *(
        "/upload/status?token=%ED%A0%80",
        "/health/live",
        "/health/ready",
        "http://other/files",
        "//files",
        "/files?" + "x" * 40_000,
    ),
    *(
        "/files/" + "x" * 9000,
        "/files/main." + "0" * 31 + "%30",
        "/\xc3\xa9",
        "/files/%C3%A9",
        "/#x",
        "/files/MAIN." + "0" * 32,
    ),
]
SOMEWHERE = picked(PATHS)
NOT_HTTP = [
    b"\r\n\r\n",
    b"\x16\x03\x01\x02\x00\x01",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    b"GET",
    b"\0" * 70_000,
    b"A" * 70_000,
]
GARBAGE = (st.binary(max_size=200) | picked(NOT_HTTP)).map(Thrown)


def metadata(**fields: str) -> str:
    encoded = {key: value.encode("utf-8", "surrogatepass") for key, value in fields.items()}
    return ",".join(f"{key} {b64encode(value).decode()}" for key, value in encoded.items())
