"""Checksum, in the header and in a trailer."""

import base64
import hashlib
import re
import zlib
from collections.abc import Callable
from dataclasses import replace

from ..exchange import Answer
from ..registry import MUST, SHOULD, NotJudged, clause
from ..subject import Subject, demand, demand_field, demand_refused, demand_status, shown

GROUP = "checksum"
TRAILER = "checksum-trailer"
SECTION = "Checksum"

# The protocol's words: ASCII without its capitals.
NAME = re.compile(r"[!-+\--@\[-~]+")
LARGE = bytes(range(253)) * 1500
SENT = 100_000

DIGESTS: dict[str, Callable[[bytes], bytes]] = {
    "crc32": lambda data: zlib.crc32(data).to_bytes(4, "big"),
    **{
        name: (lambda data, name=name: hashlib.new(name, data, usedforsecurity=False).digest())  # type: ignore[misc] # mypy loses the default
        for name in ("md5", "sha1", "sha224", "sha256", "sha384", "sha512")
    },
}


def digest_of(algorithm: str, data: bytes) -> str:
    return f"{algorithm} {base64.b64encode(DIGESTS[algorithm](data)).decode()}"


WRONG = digest_of("sha1", b"something else")


# ---- what is announced ----------------------------------------------------------------------------------------------


@clause("checksum.announced", GROUP, MUST, SECTION, "A server that verifies checksums announces it.", needs=())
async def announced(subject: Subject) -> None:
    if GROUP in subject.offer.extensions:
        return
    answer = await subject.patch(await subject.create(), 0, b"hello", Upload_Checksum=WRONG)
    demand(answer.status != 460, "PATCH with a wrong checksum was answered 460, but checksum is not announced")
    raise NotJudged("checksum is neither announced nor done")


@clause("checksum.algorithms-told", GROUP, MUST, SECTION, "OPTIONS has Tus-Checksum-Algorithm.")
async def algorithms_told(subject: Subject) -> None:
    text = (await subject.ask("OPTIONS")).get("Tus-Checksum-Algorithm")
    demand(bool(text), "OPTIONS was answered without Tus-Checksum-Algorithm")


@clause("checksum.algorithms-list", GROUP, MUST, SECTION, "It is a comma-separated list of names without capitals.")
async def algorithms_list(subject: Subject) -> None:
    text = (await subject.ask("OPTIONS")).get("Tus-Checksum-Algorithm") or ""
    names = [name.strip(" \t") for name in text.split(",")]
    demand(
        all(NAME.fullmatch(name) for name in names), f"OPTIONS was answered with Tus-Checksum-Algorithm {shown(text)}"
    )


@clause("checksum.sha1-told", GROUP, MUST, SECTION, "sha1 is among the algorithms.")
async def sha1_told(subject: Subject) -> None:
    demand("sha1" in subject.offer.algorithms, f"the algorithms are {', '.join(subject.offer.algorithms) or 'none'}")


# ---- the header -----------------------------------------------------------------------------------------------------


async def _patched(subject: Subject, checksum: str, body: bytes = b"world", length: int = 10) -> tuple[str, Answer]:
    """An upload with 5 bytes in it, and a PATCH of more with this checksum."""
    url = await subject.create(length)
    await subject.sent(url, 0, b"hello")
    return url, await subject.patch(url, 5, body, Upload_Checksum=checksum)


async def _demand_kept(subject: Subject, url: str, sent: str) -> None:
    offset = await subject.offset(url)
    demand(offset == 5, f"{sent} moved the offset from 5 to {offset}")


@clause("checksum.match-204", GROUP, MUST, SECTION, "A body that matches its sha1 is taken.")
async def match_204(subject: Subject) -> None:
    _, answer = await _patched(subject, digest_of("sha1", b"world"))
    demand_status(answer, 204, "PATCH with the right sha1")
    demand_field(answer, "Upload-Offset", "10", "PATCH with the right sha1")


@clause("checksum.match-large", GROUP, MUST, SECTION, "A large body that matches its sha1 is taken.")
async def match_large(subject: Subject) -> None:
    _, answer = await _patched(subject, digest_of("sha1", LARGE), LARGE, 5 + len(LARGE))
    demand_status(answer, 204, f"PATCH of {len(LARGE)} bytes with the right sha1")


@clause("checksum.each-algorithm", GROUP, MUST, SECTION, "Each algorithm that is announced is verified.")
async def each_algorithm(subject: Subject) -> None:
    for algorithm in subject.offer.algorithms:
        if algorithm not in DIGESTS:
            continue
        _, right = await _patched(subject, digest_of(algorithm, b"world"))
        demand_status(right, 204, f"PATCH with the right {algorithm}")
        _, wrong = await _patched(subject, digest_of(algorithm, b"something else"))
        demand_refused(wrong, f"PATCH with a wrong {algorithm}")


@clause("checksum.mismatch-refused", GROUP, MUST, SECTION, "A body that does not match is refused.")
async def mismatch_refused(subject: Subject) -> None:
    demand_refused((await _patched(subject, WRONG))[1], "PATCH with a wrong sha1")


@clause("checksum.mismatch-460", GROUP, SHOULD, SECTION, "The status of a mismatch is 460.")
async def mismatch_460(subject: Subject) -> None:
    demand_status((await _patched(subject, WRONG))[1], 460, "PATCH with a wrong sha1")


@clause("checksum.mismatch-untouched", GROUP, MUST, SECTION, "A body that does not match leaves the offset alone.")
async def mismatch_untouched(subject: Subject) -> None:
    await _demand_kept(subject, (await _patched(subject, WRONG))[0], "PATCH with a wrong sha1")


@clause("checksum.mismatch-large-untouched", GROUP, MUST, SECTION, "Also when it is too large for one buffer.")
async def mismatch_large_untouched(subject: Subject) -> None:
    url, _ = await _patched(subject, WRONG, LARGE, 5 + len(LARGE))
    await _demand_kept(subject, url, f"PATCH of {len(LARGE)} bytes with a wrong sha1")


@clause("checksum.mismatch-repaired", GROUP, MUST, SECTION, "After a mismatch the right bytes are taken in its place.")
async def mismatch_repaired(subject: Subject) -> None:
    url, _ = await _patched(subject, WRONG, b"WRONG")
    answer = await subject.patch(url, 5, b"world", Upload_Checksum=digest_of("sha1", b"world"))
    demand_status(answer, 204, "PATCH with the right sha1 after a wrong one")


@clause("checksum.mismatch-discarded", GROUP, MUST, SECTION, "No byte of a body that did not match stays.")
async def mismatch_discarded(subject: Subject) -> None:
    url, _ = await _patched(subject, WRONG, b"WRONG")
    await subject.sent(url, 5, b"world", Upload_Checksum=digest_of("sha1", b"world"))
    content = await subject.content(url)
    demand(content == b"helloworld", f"after a mismatch and its repair, GET gave {content[:40]!r}")


@clause("checksum.unknown-refused", GROUP, MUST, SECTION, "An algorithm that is not supported is refused.")
async def unknown_refused(subject: Subject) -> None:
    demand_refused((await _patched(subject, "no-such-hash AAAA"))[1], "PATCH with Upload-Checksum: no-such-hash AAAA")


@clause("checksum.unknown-400", GROUP, SHOULD, SECTION, "The status for an unknown algorithm is 400.")
async def unknown_400(subject: Subject) -> None:
    demand_status(
        (await _patched(subject, "no-such-hash AAAA"))[1], 400, "PATCH with Upload-Checksum: no-such-hash AAAA"
    )


@clause("checksum.unknown-untouched", GROUP, MUST, SECTION, "An unknown algorithm leaves the offset alone.")
async def unknown_untouched(subject: Subject) -> None:
    url, _ = await _patched(subject, "no-such-hash AAAA")
    await _demand_kept(subject, url, "PATCH with Upload-Checksum: no-such-hash AAAA")


@clause("checksum.malformed-refused", GROUP, MUST, "Upload-Checksum", "What is not 'name Base64' is refused.")
async def malformed_refused(subject: Subject) -> None:
    for text in ("sha1", "sha1 not*base64!", digest_of("sha1", b"world").replace(" ", "")):
        url, answer = await _patched(subject, text)
        demand_refused(answer, f"PATCH with Upload-Checksum: {text}")
        await _demand_kept(subject, url, f"PATCH with Upload-Checksum: {text}")


@clause("checksum.broken-off-untouched", GROUP, SHOULD, SECTION, "Of a body that breaks off unverified nothing counts.")
async def broken_off_untouched(subject: Subject) -> None:
    url = await subject.create(5 + len(LARGE))
    await subject.sent(url, 0, b"hello")
    request = subject.patch_request(url, 5, Upload_Checksum=digest_of("sha1", LARGE))
    async with subject.connect(url) as connection:
        await connection.send(replace(request, content_length=len(LARGE)).head() + LARGE[:SENT])
        connection.finish_sending()
        await connection.closed_by_server(2.0)
    offset = await subject.settled_offset(url, 5 + SENT, 1.5)
    demand(offset == 5, f"of a PATCH with a sha1 that broke off after {SENT} bytes, {offset - 5} bytes are kept")


# ---- the trailer ----------------------------------------------------------------------------------------------------


async def _trailed(subject: Subject, checksum: str) -> tuple[str, Answer]:
    url = await subject.create()
    await subject.sent(url, 0, b"hello")
    request = subject.patch_request(url, 5, b"world")
    request = replace(request, chunked=True, trailers=(("Upload-Checksum", checksum),))
    return url, await subject.exchange(request)


@clause("checksum-trailer.announced", TRAILER, MUST, SECTION, "A server that heeds trailers announces it.", needs=())
async def trailer_announced(subject: Subject) -> None:
    if TRAILER in subject.offer.extensions:
        return
    _, answer = await _trailed(subject, WRONG)
    demand(answer.status != 460, f"a wrong checksum in a trailer was answered 460, but {TRAILER} is not announced")
    raise NotJudged(f"{TRAILER} is neither announced nor done")


@clause("checksum-trailer.match-204", TRAILER, MUST, SECTION, "A body that matches the sha1 behind it is taken.")
async def trailer_match_204(subject: Subject) -> None:
    _, answer = await _trailed(subject, digest_of("sha1", b"world"))
    demand_status(answer, 204, "PATCH with the right sha1 in a trailer")
    demand_field(answer, "Upload-Offset", "10", "PATCH with the right sha1 in a trailer")


@clause("checksum-trailer.mismatch-refused", TRAILER, MUST, SECTION, "A body that does not match it is refused.")
async def trailer_mismatch_refused(subject: Subject) -> None:
    demand_refused((await _trailed(subject, WRONG))[1], "PATCH with a wrong sha1 in a trailer")


@clause("checksum-trailer.mismatch-460", TRAILER, SHOULD, SECTION, "The status of a mismatch is 460.")
async def trailer_mismatch_460(subject: Subject) -> None:
    demand_status((await _trailed(subject, WRONG))[1], 460, "PATCH with a wrong sha1 in a trailer")


@clause("checksum-trailer.mismatch-untouched", TRAILER, MUST, SECTION, "A mismatch leaves the offset alone.")
async def trailer_mismatch_untouched(subject: Subject) -> None:
    await _demand_kept(subject, (await _trailed(subject, WRONG))[0], "PATCH with a wrong sha1 in a trailer")


@clause("checksum-trailer.unknown-refused", TRAILER, MUST, SECTION, "An unknown algorithm is refused there, too.")
async def trailer_unknown_refused(subject: Subject) -> None:
    url, answer = await _trailed(subject, "no-such-hash AAAA")
    demand_refused(answer, "PATCH with no-such-hash in a trailer")
    await _demand_kept(subject, url, "PATCH with no-such-hash in a trailer")
